"""Options as other loaders call them, or misspelt, are answered with our own names."""

import inspect
import typing

import pytest
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from loader import FrameBatchSampler, FrameDataset, FrameLoader, SamplingError, WorkerLoader, make_dataloader
from loader.sampling import SamplingSpec
from loader.sampling.option_advice import ADVICE, advice_on
from loader.sampling.options import DEFAULTS, BatchOptions
from tests.support.caches.array_store import ArrayStore

MAKERS = [FrameLoader, FrameBatchSampler, FrameDataset, make_dataloader]


def options_of(make):
    return set(inspect.signature(make).parameters)


@pytest.mark.parametrize(
    ("option", "ours"),
    [
        ("num_workers", r"num_threads=.*make_dataloader\(store, num_workers=\)"),
        ("shuffle", "sampling='permutation'"),
        ("transform", "augment="),
        ("transforms", "augment="),
        ("collate_fn", "FrameDataset"),
        ("sampler", "sampling="),
        ("batch_sampler", "sampling="),
        ("drop_last", "remainder='drop'"),
        ("prefetch_factor", "read_ahead="),
        ("persistent_workers", "make_dataloader"),
        ("generator", "seed="),
        ("worker_init_fn", "functions of seed and epoch"),
        ("timeout", "there is none"),
        ("dataset", "the first argument is the store"),
        ("num_replicas", "rank= and world_size="),
    ],
)
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_an_option_of_other_loaders_is_answered_with_ours(make, option, ours):
    if option in options_of(make):
        assert (make, option) == (make_dataloader, "num_workers")
        return
    arguments = [] if option == "dataset" else [ArrayStore([20])]
    with pytest.raises(SamplingError, match=f"^{make.__name__} has no option {option}=: .*{ours}") as raised:
        make(*arguments, **{option: 1})
    assert isinstance(
        raised.value, TypeError
    )  # what Python raises for a keyword that a function does not have
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("batchsize", "batch_size"),
        ("batch_sizes", "batch_size"),
        ("BatchSize", "batch_size"),
        ("sample", "sampling"),
        ("num_thread", "num_threads"),
        ("worldsize", "world_size"),
        ("shards_per_blocks", "shards_per_block"),
        ("clip_len", "clip_frames"),
        ("frame_offset", "frame_offsets"),
        ("delta_timestamps", "frame_offsets_seconds"),
        ("augmentations", "augment"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_nearest(misspelt, meant):
    with pytest.raises(SamplingError, match=f"FrameLoader has no option {misspelt}=: .*{meant}="):
        FrameLoader(ArrayStore([20]), **{misspelt: 1})


@pytest.mark.parametrize("option", ["batch_size", "rank", "sampling", "seed"])
def test_a_dataset_says_who_takes_the_options_of_batches(option):
    with pytest.raises(SamplingError, match=f"FrameDataset has no option {option}=: .*FrameBatchSampler"):
        FrameDataset(ArrayStore([20]), **{option: 1})


def test_an_option_like_no_other_is_answered_with_all_there_are():
    with pytest.raises(SamplingError, match="no option qqq=: it takes augment, batch_size, cameras"):
        FrameLoader(ArrayStore([20]), qqq=1)


def test_every_wrong_option_is_named():
    with pytest.raises(SamplingError, match=r"no option shuffle=: .*; nor num_workers=: "):
        FrameLoader(ArrayStore([20]), shuffle=True, batch_size=4, num_workers=2)


def test_there_is_advice_on_every_option_of_torch_and_of_our_other_loaders():
    of_torch = options_of(DataLoader) | options_of(DistributedSampler)
    for make in MAKERS:
        known = options_of(make)
        others = set().union(*map(options_of, (*MAKERS, WorkerLoader))) - {"options", "sources"}
        missing = (of_torch | others) - known - set(ADVICE) - {"store"} - set(DEFAULTS)
        assert not missing
    assert not set(ADVICE) & set(DEFAULTS)


def test_advice_names_no_option_that_does_not_exist():
    known = options_of(FrameLoader) | options_of(make_dataloader) | {"reads"}
    words = " ".join(ADVICE.values()).replace("(", " ").replace(")", " ").replace(",", " ").split()
    named = {word.partition("=")[0] for word in words if "=" in word}
    assert named and named <= known


@pytest.mark.parametrize("name", ["num_samples", "num_frames", "sample_rate", "max_steps", "dataset_size"])
def test_a_name_that_only_resembles_one_we_know_is_not_taken_for_it(name):
    known = options_of(FrameLoader)
    advice = advice_on(name, known, shared=DEFAULTS)
    assert advice.startswith("it takes ") or advice.removeprefix("did you mean ").removesuffix("=?") in known


@pytest.mark.parametrize(
    ("name", "like"), [("num_epochs", "epochs"), ("shufle", "shuffle"), ("colate_fn", "collate_fn")]
)
def test_a_name_that_is_nearly_one_we_know_is_taken_for_it(name, like):
    assert advice_on(name, options_of(FrameLoader), shared=DEFAULTS) == ADVICE[like]


def test_the_signature_is_still_there_for_help():
    assert {"store", "num_threads", "augment", "batch_size"} <= set(inspect.signature(FrameLoader).parameters)
    assert "num_workers" in inspect.signature(make_dataloader).parameters
    assert make_dataloader.__doc__.startswith("Batches of `store`")
    assert advice_on("bs", ["batch_size"], shared=()) == "batch_size="


TYPES = typing.get_type_hints(BatchOptions)


@pytest.mark.parametrize(
    "make", [FrameLoader, FrameBatchSampler, make_dataloader], ids=lambda make: make.__name__
)
def test_the_signature_of_a_loader_lists_the_shared_options_with_types_and_defaults(make):
    parameters = inspect.signature(make).parameters
    assert list(TYPES) == list(DEFAULTS) and "options" not in parameters
    for name, kind in TYPES.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert (parameters[name].annotation, parameters[name].default) == (kind, DEFAULTS[name])


def test_the_defaults_are_those_that_a_loader_has():
    store = ArrayStore([200])
    plain, spelt_out = FrameLoader(store), FrameLoader(store, **DEFAULTS)
    assert repr(plain) == repr(spelt_out) and plain.state_dict() == spelt_out.state_dict()


def test_a_spec_has_names_types_and_defaults_of_the_options():
    types = typing.get_type_hints(SamplingSpec)
    assert types.pop("weights") == (str | None)  # the label that the plan writes there
    assert types.pop("strata") is str  # likewise
    assert types == {name: TYPES[name] for name in types}
    assert SamplingSpec().to_builtins() == {name: DEFAULTS[name] for name in [*types, "strata", "weights"]}


@pytest.mark.parametrize("name", DEFAULTS)
def test_each_default_has_the_type_of_its_option(name):
    kind = TYPES[name]
    choices = typing.get_args(kind) or (kind,)
    assert DEFAULTS[name] in choices or type(DEFAULTS[name]) in choices
