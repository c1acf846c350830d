"""The style sheet and the script of a page. Both are constants, so that a policy can name them by their hashes."""

from typing import Final

from frame_store.html import InlineScript, InlineStyle

STYLE: Final = InlineStyle(
    text="""
:root{color-scheme:light dark;--bg:#fff;--card:#f6f8fa;--text:#1b1f24;--soft:#545d68;--line:#d0d7de;--link:#0b5cad;
--ok:#17692f;--bad:#b42318;--warn:#7a4f00;--okbg:#dcf5e3;--badbg:#fde7e4;--warnbg:#fdf0cf;--bar:#5b8fc7;
--base:#7192bd;--dmg:#c8201a;
--c0:#0b5cad;--c1:#b42318;--c2:#17692f;--c3:#7a4f00;--c4:#7d3cb5;--c5:#0d7377}
@media (prefers-color-scheme:dark){:root{--bg:#0e1116;--card:#171b22;--text:#e8edf2;--soft:#a3adb8;--line:#353c45;
--link:#79b8ff;--ok:#6fdc8c;--bad:#ffa198;--warn:#f0c14b;--okbg:#12331d;--badbg:#45160f;--warnbg:#3a2b05;
--bar:#5d9bdc;
--base:#55789e;--dmg:#ff4d3d;--c0:#79b8ff;--c1:#ffa198;--c2:#6fdc8c;--c3:#f0c14b;--c4:#d2a8ff;--c5:#56d4dd}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;overflow-wrap:break-word;background:var(--bg);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,main,footer{max-width:1180px;margin:0 auto;padding:0 16px}
header{padding-top:24px}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 2px;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:40px 0 8px;padding-top:14px;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:22px 0 6px}
.video h3{font-size:1rem;margin:0}
p{margin:6px 0;max-width:76ch}
a{color:var(--link);text-underline-offset:2px}
a:focus-visible,button:focus-visible,summary:focus-visible,[tabindex]:focus-visible{outline:3px solid var(--link);
outline-offset:2px;border-radius:3px}
code,pre,.name{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.92em}
.name,code{overflow-wrap:break-word}h3 .name,p .name,p code,li .name,dd code{overflow-wrap:anywhere}
.soft{color:var(--soft)}
.path{color:var(--soft);margin:0;overflow-wrap:anywhere}
.skip{position:absolute;left:-999px}
.skip:focus{left:8px;top:8px;background:var(--bg);padding:6px 10px;z-index:2}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:16px 0 0;padding:0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 12px}
.tiles dt{color:var(--soft);font-size:.86rem}
.tiles dd{margin:0;font-size:1.35rem;font-weight:650;line-height:1.25}
.tiles dd small{display:block;font-size:.84rem;font-weight:400;color:var(--soft)}
.tiles .bad{border-color:var(--bad)}
.tiles .bad dd{color:var(--bad)}
.tiles .good dd{color:var(--ok)}
.strip{display:grid;grid-template-columns:repeat(auto-fill,minmax(92px,1fr));gap:4px;list-style:none;padding:0;
margin:14px 0 0}
.strip img{width:100%;height:auto;display:block;border-radius:4px}
nav ul{display:flex;flex-wrap:wrap;gap:4px 16px;list-style:none;padding:0;margin:14px 0 0}
nav a{display:inline-block;padding:5px 0}
.answers{margin:0;padding:0}
.answers dt{font-weight:650;margin-top:12px}
.answers dd{margin:0;max-width:84ch}
@media (min-width:820px){.answers{display:grid;grid-template-columns:230px 1fr;gap:14px 18px}.answers dt{margin:0}}
.answers ul,.plain{margin:4px 0;padding-left:20px}
.badge{display:inline-block;border-radius:999px;padding:1px 9px;font-size:.82rem;font-weight:650;white-space:nowrap}
.badge.ok{background:var(--okbg);color:var(--ok)}
.badge.bad{background:var(--badbg);color:var(--bad)}
.badge.warn{background:var(--warnbg);color:var(--warn)}
.box{border-left:4px solid var(--line);background:var(--card);padding:8px 12px;margin:10px 0;
border-radius:0 6px 6px 0}
.box.bad{border-color:var(--bad);background:var(--badbg)}
.box.warn{border-color:var(--warn);background:var(--warnbg)}
.box ul{margin:4px 0;padding-left:20px}
.box li{overflow-wrap:anywhere}
.scroll{overflow-x:auto;margin:8px 0;background:
linear-gradient(to left,transparent,var(--bg) 40px) 0 0/40px 100% local no-repeat,
linear-gradient(to right,transparent,var(--bg) 40px) 100% 0/40px 100% local no-repeat,
linear-gradient(to right,var(--line),transparent) 0 0/12px 100% no-repeat,
linear-gradient(to left,var(--line),transparent) 100% 0/12px 100% no-repeat}
table{border-collapse:collapse;font-size:.92rem}
caption{text-align:left;color:var(--soft);padding:2px 0 4px}
th,td{text-align:left;vertical-align:top;padding:5px 14px 5px 0;border-bottom:1px solid var(--line)}
th{font-weight:600}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom}
td.num,th.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.best th,tr.best td{background:var(--okbg)}
.scroll tbody th{min-width:8em}
.facts tbody th{min-width:0}
.facts th{color:var(--soft);font-weight:400;white-space:nowrap}
.facts td{overflow-wrap:anywhere}
@media (max-width:600px){.cards,.cards tbody,.cards tr,.cards th,.cards td,.cards caption{display:block}
.cards thead{position:absolute;left:-9999px}.cards tr{border:1px solid var(--line);border-radius:8px;margin:0 0 8px;
padding:6px 10px}.cards tbody th,.cards td,.cards td.num{border:0;padding:1px 0;text-align:left}
.cards td,.cards td.num{display:flex;justify-content:space-between;gap:12px;white-space:normal}
.cards td::before{content:attr(data-label);color:var(--soft)}.cards td:empty{display:none}.cards .meter{display:none}
.cards tbody th{overflow-wrap:anywhere}.strip li:nth-child(n+9){display:none}}
.worst{margin:6px 0}.worst img{max-width:160px;height:auto;display:block;border-radius:3px;
outline:3px solid var(--dmg);outline-offset:-3px}
.notes{margin:4px 0 0;padding-left:18px;font-size:.86rem;color:var(--soft);max-width:110ch;overflow-wrap:anywhere}
.video{border:1px solid var(--line);border-radius:8px;padding:10px 12px;margin:12px 0;background:var(--card)}
.video.attention{border-color:var(--bad)}
.video header{all:unset;display:flex;flex-wrap:wrap;gap:2px 10px;align-items:baseline}
.video h3{margin:0;font-size:1rem}
.video p{margin:3px 0;font-size:.9rem;max-width:110ch;overflow-wrap:anywhere}
.video .marks{margin:2px 0 6px;padding-left:0;list-style:none;font-size:.9rem;overflow-wrap:anywhere}
.line{margin:6px 0 2px}
.line svg{display:block;width:100%;height:34px}
.ends{display:flex;justify-content:space-between;color:var(--soft);font-size:.82rem;font-variant-numeric:tabular-nums}
.sheet{display:grid;grid-template-columns:repeat(4,1fr);gap:6px;margin:6px 0 0;padding:0;list-style:none}
@media (min-width:700px){.sheet{grid-template-columns:repeat(8,1fr)}}
.sheet li{min-width:0}
.sheet img{width:100%;height:auto;display:block;border-radius:3px;background:var(--line)}
.sheet span{display:block;font-size:.78rem;color:var(--soft);line-height:1.3;font-variant-numeric:tabular-nums}
.sheet .in img{outline:3px solid var(--dmg);outline-offset:-3px}
.sheet .in b{color:var(--bad)}
.three{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,200px),1fr));gap:10px;max-width:1020px;
margin:8px 0 16px}
figure{margin:0}
.three img{width:100%;height:auto;display:block;border-radius:3px}
figcaption{font-size:.86rem;color:var(--soft);margin-top:3px}
.plots{display:grid;align-items:start;grid-template-columns:repeat(auto-fill,minmax(min(100%,270px),1fr));gap:12px;
margin:10px 0}
.plot{border:1px solid var(--line);border-radius:8px;padding:10px 12px;background:var(--card);min-width:0}
.plot h3{margin:0 0 2px;font-size:.95rem;overflow-wrap:anywhere}
.plot p{margin:2px 0;font-size:.86rem}
.plot svg{display:block;width:100%;height:64px;margin:6px 0 2px}
.bars{width:100%;table-layout:fixed}
.bars th,.bars td{border:0;padding:1px 6px 1px 0;font-size:.86rem;font-weight:400;overflow-wrap:anywhere}
.bars th{width:42%}
.bars td.num{width:22%}
.bars svg{height:10px;margin:5px 0 0}
.meter{display:inline-block;width:90px;height:10px;max-width:100%}
td.num .meter{margin-right:10px}
.f-base{fill:var(--base)}.f-bar{fill:var(--bar)}.line .f-damage,.line .f-corrupt,.line .f-duplicate,.line .f-repeat,
.line .f-format{stroke:var(--card);stroke-width:1;
vector-effect:non-scaling-stroke}
.line .f-damage{stroke:var(--dmg);stroke-width:2}
.f-damage{fill:var(--dmg)}.f-corrupt{fill:var(--c4)}.f-gap{
fill:var(--bg)}
.f-duplicate{fill:var(--warn)}.f-repeat{fill:var(--c5)}.f-format{fill:var(--c2)}.f-shown{fill:var(--soft)}
.s-lost{stroke:var(--dmg);stroke-width:2;stroke-dasharray:4 2;fill:var(--bg);vector-effect:non-scaling-stroke}
.s-unlisted{stroke:var(--warn);stroke-width:1;stroke-dasharray:1 3;fill:none;vector-effect:non-scaling-stroke}
.s-gap{vector-effect:non-scaling-stroke;stroke:var(--soft);stroke-width:1;stroke-dasharray:3 2;fill:var(--bg)}
.curve{fill:none;stroke-width:1.6;vector-effect:non-scaling-stroke}
.k0{stroke:var(--c0)}.k1{stroke:var(--c1)}.k2{stroke:var(--c2)}.k3{stroke:var(--c3)}.k4{stroke:var(--c4)}.k5{
stroke:var(--c5)}
.key{display:inline-block;width:12px;height:10px;vertical-align:baseline;margin-right:4px}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;padding:0;margin:6px 0;font-size:.86rem;
color:var(--soft)}
.code{position:relative}
pre{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px;overflow-x:auto;margin:8px 0;
line-height:1.45}
button{font:inherit;font-size:.9rem;border:1px solid var(--line);border-radius:6px;background:var(--bg);
color:var(--link);
padding:5px 14px;min-height:32px;cursor:pointer}
summary{cursor:pointer;padding:6px 0;color:var(--link)}
footer{color:var(--soft);font-size:.86rem;padding-top:20px;padding-bottom:40px}
@media print{body{font-size:11px}th,td{overflow-wrap:anywhere;white-space:normal}
.cards th,.cards td{font-size:9px;padding:2px 3px}
header,main,footer{max-width:none}.video,.plot,figure,tr{break-inside:avoid}
h2,h3{break-after:avoid}nav,button{display:none}.scroll{overflow:visible}pre{white-space:pre-wrap}
.sheet{grid-template-columns:repeat(8,1fr)}details::details-content{content-visibility:visible;block-size:auto}}
"""
)

SCRIPT: Final = InlineScript(
    text="""
for(const button of document.querySelectorAll("button[data-copies]")){button.hidden=false;
button.addEventListener("click",async()=>{const code=document.getElementById(button.dataset.copies);let done=true;
try{await navigator.clipboard.writeText(code.textContent)}catch(error){const range=document.createRange();
range.selectNodeContents(code);const chosen=getSelection();chosen.removeAllRanges();chosen.addRange(range);
done=document.execCommand("copy")}
button.textContent=done?"Copied":"Select the text to copy it"})}
addEventListener("beforeprint",()=>{for(const each of document.querySelectorAll("details"))each.open=true});
const open=()=>{const at=location.hash.length>1&&document.getElementById(location.hash.slice(1));
for(let each=at;each;each=each.parentElement)if(each.tagName==="DETAILS")each.open=true;if(at)at.scrollIntoView()};
addEventListener("hashchange",open);if(location.hash)open();
"""
)
