"""The top of the page: tiles, and the questions that a person has, answered in sentences with links."""

from typing import Final

from frame_cache_tools.report.data import CacheReport, CameraFacts
from frame_cache_tools.report.page.damage import damaged_list, extent_text, worst_picture_part
from frame_cache_tools.report.page.parts import limited, link
from frame_cache_tools.report.page.videos import findings_list, overview, verdicts_text
from frame_cache_tools.report.page.wording import bytes_text, duration_text, seconds_text, three_digits

from frame_store.html import Child, Html, element, joined, name_of
from frame_store.shared import counted_in_groups, without_controls

MAX_NAMED: Final = 8


def tiles(report: CacheReport) -> Html:
    """Frames, videos, bytes and health in large type."""
    leader, summary = report.leader, report.leader.summary
    height, width, _ = leader.frame_shape
    num_cameras = len(report.cameras)
    cells = [
        _tile("Frames", f"{report.num_frames:,}", f"{height} x {width} {_pixel_text(leader)}"),
        _tile(
            f"{report.noun.capitalize()}s",
            f"{report.num_videos:,}",
            duration_text(summary.seconds) if summary is not None and summary.seconds else "",
        ),
        _tile("On disk", bytes_text(report.num_bytes), f"{bytes_text(_bytes_per_frame(report))} a frame"),
        _health_tile(report),
    ]
    if num_cameras > 1:
        cells.insert(2, _tile("Cameras", f"{num_cameras:,}", "each with its own frames"))
    return joined(element("dl", cells, class_="tiles"), overview(leader.videos))


def _tile(title: str, value: str, more: str = "", mood: str | None = None) -> Html:
    return element(
        "div",
        element("dt", title),
        element("dd", value, element("small", more) if more else None),
        class_=mood,
    )


def _health_tile(report: CacheReport) -> Html:
    if report.problems:
        return _tile(
            "Health", "Damaged", counted_in_groups(len(report.problems), "problem") + " with files", "bad"
        )
    not_whole = _num_not_whole(report)
    if not_whole:
        return _tile("Health", f"{not_whole:,} not whole", "videos that lack frames or may be wrong", "bad")
    return _tile("Health", "Whole", "all videos decoded without damage", "good")


def _num_not_whole(report: CacheReport) -> int:
    return max(
        (
            camera.summary.num_damaged + camera.summary.num_unreadable
            for camera in report.cameras
            if camera.summary is not None
        ),
        default=0,
    )


def _pixel_text(camera: CameraFacts) -> str:
    return "RGB" if camera.pixel == "rgb8" else "16-bit gray"


def _bytes_per_frame(report: CacheReport) -> float:
    return report.num_bytes / (sum(camera.num_frames for camera in report.cameras) or 1)


def answers(report: CacheReport) -> Html:
    """What a person asks first, in sentences."""
    pairs: list[tuple[str, Child]] = [
        ("What is in it?", _what(report)),
        ("Is it right?", _right(report)),
        ("How good are the pictures?", _fidelity(report)),
        ("What does it cost?", _cost(report)),
        ("Where does it come from?", _origin(report)),
        ("Which sampler should I take?", _sampler(report)),
        ("How do I load it?", [link("load", "Copy the snippet"), "."]),
    ]
    return element(
        "dl", [[element("dt", ask), element("dd", answer)] for ask, answer in pairs], class_="answers"
    )


def _what(report: CacheReport) -> Child:
    leader, summary = report.leader, report.leader.summary
    height, width, _ = leader.frame_shape
    text = f"{counted_in_groups(report.num_frames, 'frame')} from {counted_in_groups(report.num_videos, report.noun)}"
    if summary is not None and summary.seconds:
        lasts = "that lasts" if report.num_videos == 1 else "that together last"
        text += f" {lasts} {duration_text(summary.seconds)}"
    sentences = [f"{text}."]
    if len(report.cameras) > 1:
        names: list[Child] = []
        for camera in report.cameras[:MAX_NAMED]:
            names += [", " if names else "", name_of(camera.name or "")]
        return [
            sentences[0],
            f" Each is stored for {len(report.cameras)} cameras: ",
            names,
            ". ",
            _columns_text(report),
        ]
    sentences.append(f"Each is {height} x {width} pixels (height x width), {_pixel_text(leader)}.")
    if summary is not None and summary.num_frames_stored < summary.num_frames_decoded:
        sentences.append(
            f"The videos have {counted_in_groups(summary.num_frames_decoded, 'frame')} that decode; "
            f"{summary.num_frames_stored:,} of them were kept."
        )
    return [" ".join(sentences), " ", _columns_text(report)]


def _origin(report: CacheReport) -> Child:
    """When it was written, from what, and how it grew; also where nothing of the kind happened."""
    leader, record, summary = report.leader, report.record, report.leader.summary
    sentences = [f"Its newest manifest was written on {record.written} UTC, by the date of the file."]
    if record.seconds:
        steps = ", ".join(f"{name} {duration_text(seconds)}" for name, seconds in record.seconds)
        total = duration_text(sum(seconds for _, seconds in record.seconds))
        what = "The last append" if record.is_append else "The build"
        sentences.append(f"{what} took {total} ({steps}), by the report beside the cache.")
    else:
        sentences.append("How long the build took is not known: its report does not lie beside the cache.")
    sentences.append(
        "The cache does not record where its videos lie."
        if record.source is None
        else f"For this page the videos were looked for in {without_controls(record.source)}."
    )
    number = len(leader.generations)
    if number > 1:
        sentences.append(f"The cache grew in {counted_in_groups(number, 'generation')}.")
    elif leader.generations and leader.generations[0].num_parts > 1:
        sentences.append(
            f"It has one generation, joined from {counted_in_groups(leader.generations[0].num_parts, 'build')}."
        )
    else:
        sentences.append("It has one generation, from one build.")
    if summary is not None and summary.num_forgotten:
        verb = "lies" if summary.num_forgotten == 1 else "lie"
        sentences.append(
            f"{counted_in_groups(summary.num_forgotten, 'forgotten video')} with "
            f"{counted_in_groups(summary.num_frames_forgotten, 'frame')} still {verb} on disk; readers leave them out."
        )
    elif summary is not None:
        sentences.append("No video is forgotten.")
    if report.num_superseded:
        sentences.append(
            f"{counted_in_groups(report.num_superseded, 'superseded folder')}, with "
            f"{bytes_text(report.num_superseded_bytes)} still on disk."
        )
    else:
        sentences.append("No folder is superseded.")
    sentences.append("Whether videos are new, changed or gone since was not looked at:")
    return [" ".join(sentences), " ", element("code", "cache-info CACHE --against SOURCE"), " tells."]


def _columns_text(report: CacheReport) -> Child:
    number = len(report.columns) + report.num_columns_left_out
    if not number:
        return None
    return ["It has ", link("columns", counted_in_groups(number, "column")), " of other values."]


def _right(report: CacheReport) -> Child:
    lines: list[Child] = []
    if report.problems:
        lines.append(
            [
                element("b", "The cache itself is damaged: "),
                link("problems", counted_in_groups(len(report.problems), "problem")),
                ". Run cache-verify.",
            ]
        )
    for number, camera in enumerate(report.cameras):
        where: list[Child] = [] if camera.name is None else ["Camera ", name_of(camera.name), ": "]
        if camera.summary is None:
            lines.append([*where, "The table of videos is damaged."])
            continue
        text = verdicts_text(camera.summary, noun=report.noun)
        lines.append([*where, text if where else text[0].upper() + text[1:], "."])
        if extent := extent_text(camera.summary):
            lines.append(element("b", extent))
        lines += damaged_list(camera, number)
        if camera.summary.num_not_whole and any(video.needs_attention for video in report.leader.videos):
            lines.append(
                [
                    "A loader gives doubtful frames like all others: ",
                    link("damage", "how to leave them out, and what else to do"),
                    ".",
                ]
            )
        if (found := findings_list(camera.summary)) is not None:
            lines.append(found)
    if not report.problems:
        lines.append(
            f"All {counted_in_groups(report.num_files_checked, 'file')} of the cache have the sizes that were written; "
            "their bytes were not compared (cache-verify does that)."
        )
    return [element("div", line) for line in lines]


def _fidelity(report: CacheReport) -> Child:
    lines: list[Child] = []
    for camera in report.cameras:
        where: list[Child] = [] if camera.name is None else ["Camera ", name_of(camera.name), ": "]
        facts = camera.fidelity
        if facts is None:
            continue
        if facts.is_exact:
            lines.append([*where, "Stored pixels are exactly the decoded and resized ones."])
        elif facts.recorded is not None and facts.recorded.psnr_db_worst_frame is not None:
            worst: Child = f"{facts.recorded.psnr_db_worst_frame:.1f} dB"
            lines.append(
                [
                    *where,
                    f"{camera.encoding}: PSNR {facts.recorded.psnr_db_of_mean_error:.1f} dB over "
                    f"{counted_in_groups(facts.recorded.num_frames_sampled, 'sampled frame')}. The worst of them has ",
                    worst,
                    " (above 40 dB, differences are hard to see). This measures the storage alone: it compares with "
                    "what the decoder gave, so damage of the videos does not count."
                    if camera.summary is not None and camera.summary.num_not_whole
                    else " (above 40 dB, differences are hard to see). This compares with what the decoder gave.",
                ]
            )
        if facts.why_none is not None and not facts.is_exact:
            lines.append([*where, link("fidelity", "No original is shown"), f". {facts.why_none}"])
        if (worst_picture := worst_picture_part(camera)) is not None:
            lines.append(worst_picture)
        if facts.compared:
            one = facts.compared[0]
            compared = counted_in_groups(facts.num_compared, "frame")
            moment = seconds_text(one.seconds)
            lines.append(
                [
                    *where,
                    link(
                        "fidelity",
                        f"The worst of {compared} beside its original",
                    ),
                    f": frame {one.frame_in_video}{f' at {moment}' if moment else ''} of ",
                    name_of(one.path),
                    ", equal." if one.psnr_db is None else f", {one.psnr_db:.1f} dB.",
                ]
            )
    return [
        element("div", line) for line in limited(lines, at_most=MAX_NAMED, noun="more line")
    ] or "Not known."


def _cost(report: CacheReport) -> Child:
    leader = report.leader
    num_frames = sum(camera.num_frames for camera in report.cameras) or 1
    raw = sum(camera.raw_frame_bytes * camera.num_frames for camera in report.cameras)
    text = f"{bytes_text(report.num_bytes)} on disk, {bytes_text(report.num_bytes / num_frames)} a frame."
    ratio = raw / (report.num_bytes or 1)
    text += f" The same frames as raw pixels are {bytes_text(raw)} ({bytes_text(raw / num_frames)} a frame)"
    text += f", {three_digits(ratio)} times the cache." if ratio > 1.05 else "."
    if report.num_superseded_bytes:
        text += (
            f" Another {bytes_text(report.num_superseded_bytes)} are of folders that newer versions replaced; "
            "cache-compact --remove-superseded frees them."
        )
    summary = leader.summary
    if summary is not None and summary.num_source_bytes and len(report.cameras) == 1:
        times = report.num_bytes / summary.num_source_bytes
        compared = f"{three_digits(times)} times" if times >= 1 else f"{three_digits(100 * times)}% of"
        text += (
            f" The videos have {bytes_text(summary.num_source_bytes)}: the cache has {compared} their bytes."
        )
    values = dict(leader.settings)
    kept = ""
    if values.get("fps", "none") != "none":
        kept = f", {values['fps'].removesuffix('.0')} fps kept"
    elif values.get("stride", "1") not in {"1", "none"}:
        kept = f", one of {values['stride']} frames kept"
    resized = "native size" if values.get("size") == "native" else f"resize {values.get('resize', 'unknown')}"
    built = (
        f" Built with: {leader.encoding}, {resized}{kept}, layout {leader.layout}, "
        f"{counted_in_groups(leader.num_shards, 'shard')}. "
    )
    return [text, built, link("build", "All settings"), "."]


def _sampler(report: CacheReport) -> Child:
    sampling = report.sampling
    if sampling is None:
        return f"Not computed: {report.why_no_sampling}"
    if sampling.best is None:
        return ["No sampler here is unbiased. ", link("samplers", "Compare them"), "."]
    options = ", ".join(f"{name}={value!r}" for name, value in sampling.best.options)
    how = (
        "computed from thumbnails of all frames"
        if sampling.is_of_all_frames
        else "an estimate from a few frames"
    )
    left_out = sampling.best.num_left_out
    return [
        "Take ",
        element("code", options),
        f". It has no bias: over many epochs each frame is shown equally often. And {sampling.why}. This is {how}. ",
        f"An epoch leaves out {counted_in_groups(left_out, 'frame')} that would fill no batch. "
        if left_out
        else None,
        "On a disk that is slow with single frames another sampler may be better: ",
        element("code", "cache-bias CACHE --plan"),
        " measures yours. ",
        link("samplers", "Compare the samplers"),
        ".",
    ]
