"""Content orders of views, concatenations and groups: by lists."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store import concat, select
from frame_store.cameras import group_cameras
from frame_store.errors import StoreDamagedError
from frame_store.views import base_of, cache_ids_of, content, content_ids, content_ids_at, content_label
from tests.support.caches.array_store import ArrayStore


class OrderedStore(ArrayStore):
    """An `ArrayStore` with a content order."""

    def __init__(self, ids, **options):
        super().__init__([max(1, len(ids))], **options)
        self.content_order = np.asarray(ids, np.uint32)
        self.content_digest = f"{hash(tuple(ids)) & (1 << 64) - 1:064x}"[::-1]


ORDER = [5, 0, 3, 7, 1, 6, 2, 4]
ORDERS = st.integers(2, 12).flatmap(lambda n: st.permutations(range(n)))


@given(order=ORDERS, data=st.data(), at_once=st.integers(1, 5))
def test_a_view_keeps_the_order_among_its_frames(order, data, at_once):
    store = OrderedStore(order)
    held = data.draw(st.sets(st.sampled_from(order), min_size=1))
    view = select(store, ids=sorted(held))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_IDS_AT_ONCE", at_once)
        ids = content_ids(view)
    assert ids.dtype == np.uint32
    assert cache_ids_of(view, ids).tolist() == [frame_id for frame_id in order if frame_id in held]
    assert content_ids(view) is ids
    assert not ids.flags.writeable
    again = select(view, ids=np.arange(0, len(view), 2))
    kept = sorted(held)[::2]
    assert base_of(again) is store
    assert cache_ids_of(again, content_ids(again)).tolist() == [frame for frame in order if frame in kept]


@given(orders=st.lists(ORDERS, min_size=1, max_size=3))
def test_a_concatenation_has_the_orders_of_its_parts_one_after_another(orders):
    joined = concat([OrderedStore(order) for order in orders])
    expected, first = [], 0
    for order in orders:
        expected += [first + frame_id for frame_id in order]
        first += len(order)
    assert content_ids(joined).tolist() == expected
    places = np.arange(len(joined))[::-1].reshape(1, -1)
    assert content_ids_at(joined, places).tolist() == [expected[::-1]]
    view = select(joined, ids=np.arange(1, len(joined)))
    assert cache_ids_of(view, content_ids(view)).tolist() == [frame for frame in expected if frame]


def test_without_an_order_there_is_none():
    plain, ordered = ArrayStore([8]), OrderedStore(ORDER)
    for store in (plain, select(plain, ids=[1, 2]), concat([ordered, plain]), concat([plain, ordered])):
        assert content_ids(store) is None
        assert content_label(store) is None


def test_a_group_has_the_order_of_its_first_camera():
    ordered, plain = OrderedStore(ORDER), ArrayStore([8])
    group = group_cameras({"one": ordered, "two": plain})
    other = group_cameras({"one": plain, "two": ordered})
    assert content_ids(group).tolist() == ORDER
    assert content_label(group) == content_label(ordered)
    assert content_ids(other) is None
    assert cache_ids_of(select(group, ids=[0, 5, 6]), content_ids(select(group, ids=[0, 5, 6]))).tolist() == [
        5,
        0,
        6,
    ]
    assert content_ids(concat([group, group])).tolist() == [*ORDER, *(8 + frame_id for frame_id in ORDER)]
    assert content_ids(select(group, ids=[0, 5]).cameras["two"]) is None


def test_labels_tell_orders_apart():
    store, other = OrderedStore(ORDER), OrderedStore(ORDER[::-1])
    stores = [
        store,
        other,
        select(store, ids=[1, 2]),
        select(store, ids=[1, 3]),
        select(other, ids=[1, 2]),
        concat([store, other]),
        concat([other, store]),
    ]
    labels = [content_label(each) for each in stores]
    assert len(set(labels)) == len(stores)
    assert all(label is not None and len(label) == 16 for label in labels)
    assert content_label(select(store, ids=[1, 2])) == labels[2]


def test_a_view_pickles_without_its_order():
    view = select(OrderedStore(ORDER), ids=[5, 1, 2])
    ids = content_ids(view).tolist()
    copy = pickle.loads(pickle.dumps(view))
    assert "content_order" not in vars(copy)
    assert content_ids(copy).tolist() == ids


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 1, 8, 3, 4, 5, 6, 7], r"frame id 8, outside \[0, 8\)"),
        ([0, 1, 2**32 - 1, 3, 4, 5, 6, 7], "outside"),
        ([0, 1, 1, 3, 4, 5, 6, 7], "every frame once"),
        ([3, 3, 3, 3, 3, 3, 3, 3], "every frame once"),
    ],
)
def test_a_strange_order_is_refused(ids, message):
    store = OrderedStore(ids)
    for made in (
        select(store, ids=[0, 1, 2, 3]),
        concat([OrderedStore(ORDER), store]),
        select(concat([store, store]), ids=[2, 9]),
    ):
        with pytest.raises(StoreDamagedError, match=f"{message}.*run cache-verify"):
            content_ids(made)
    if "outside" in message:
        with pytest.raises(StoreDamagedError, match=f"{message}.*run cache-verify"):
            content_ids_at(store, np.arange(8))
