"""The store: differences, indexes, and one object for all readers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtfn.kube.resource import Object
from virtfn.kube.store import ChangeKind, Store


def by_node(thing: Object) -> Iterable[str]:
    return thing.get("nodes", ())


@pytest.fixture
def store() -> Store:
    return Store(indexers={"node": by_node})


def test_put_tells_what_happened(kit: Any, store: Store) -> None:
    one, two = kit.widget("a", version="1"), kit.widget("a", version="2")
    (added,) = store.put("there/a", thing=one)
    assert (added.kind, added.old, added.new) == (ChangeKind.ADDED, None, one)
    assert store.put("there/a", thing=kit.widget("a", version="1")) == ()
    (modified,) = store.put("there/a", thing=two)
    assert (modified.kind, modified.old, modified.new) == (ChangeKind.MODIFIED, one, two)
    (deleted,) = store.remove("there/a")
    assert (deleted.kind, deleted.old, deleted.new) == (ChangeKind.DELETED, two, None)
    assert deleted.thing is two
    assert store.remove("there/a") == ()


def test_another_uid_is_another_object(kit: Any, store: Store) -> None:
    store.put("there/a", thing=kit.widget("a", version="1", uid="x"))
    kinds = [change.kind for change in store.put("there/a", thing=kit.widget("a", version="9", uid="y"))]
    assert kinds == [ChangeKind.DELETED, ChangeKind.ADDED]


def test_objects_are_shared_not_copied(kit: Any, store: Store) -> None:
    thing = kit.widget("a", nodes=["n1"])
    store.put("there/a", thing=thing)
    assert store.get("there/a") is thing
    assert store.objects()[0] is thing
    assert store.by("node", word="n1")[0] is thing


def test_indexes_follow(kit: Any, store: Store) -> None:
    store.put("there/a", thing=kit.widget("a", version="1", nodes=["n1", "n2", "n1"]))
    store.put("there/b", thing=kit.widget("b", version="1", nodes=["n2"]))
    assert store.keys_by("node", word="n2") == ("there/a", "there/b")
    assert sorted(store.words("node")) == ["n1", "n2"]
    store.put("there/a", thing=kit.widget("a", version="2", nodes=["n3"]))
    assert store.keys_by("node", word="n1") == ()
    assert store.keys_by("node", word="n2") == ("there/b",)
    store.remove("there/b")
    assert store.words("node") == ("n3",)
    with pytest.raises(KeyError):
        store.by("colour", word="red")


def test_an_indexer_that_fails_leaves_the_store_as_it_was(kit: Any) -> None:
    store = Store(indexers={"good": by_node, "bad": lambda thing: [thing["must"]]})
    store.put("there/a", thing=kit.widget("a", version="1", nodes=["n1"], must="x"))
    with pytest.raises(KeyError):
        store.put("there/a", thing=kit.widget("a", version="2", nodes=["n2"]))
    assert store.keys_by("good", word="n1") == ("there/a",)
    assert store.words("good") == ("n1",)


def test_membership_and_length(kit: Any, store: Store) -> None:
    store.put("there/a", thing=kit.widget("a"))
    assert "there/a" in store
    assert "there/b" not in store
    assert len(store) == 1


Content = dict[str, tuple[int, tuple[str, ...]]]
contents = st.dictionaries(
    st.sampled_from("abcde"),
    st.tuples(st.integers(1, 3), st.lists(st.sampled_from(["n1", "n2"]), max_size=2).map(tuple)),
)


@given(before=contents, after=contents)
def test_replacing_leaves_what_the_list_says_and_tells_the_difference(before: Content, after: Content) -> None:
    def objects(content: Content) -> dict[str, Object]:
        return {
            key: {"metadata": {"name": key, "uid": key, "resourceVersion": f"{version}-{nodes}"}, "nodes": nodes}
            for key, (version, nodes) in content.items()
        }

    store = Store(indexers={"node": by_node})
    store.replace(objects(before))
    changes = store.replace(objects(after))
    keys = store.keys()
    assert {key: store.get(key) for key in keys} == objects(after)
    for node in ("n1", "n2"):
        assert set(store.keys_by("node", word=node)) == {key for key, (_, nodes) in after.items() if node in nodes}
    told = {change.key: change.kind for change in changes}
    assert told == {
        key: ChangeKind.DELETED if key not in after else ChangeKind.ADDED if key not in before else ChangeKind.MODIFIED
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }


def test_readers_see_whole_states_while_it_is_written(kit: Any, store: Store) -> None:
    states = [
        {f"{n}": kit.widget(f"{n}", version=f"{version}", nodes=["n"]) for n in range(20)} for version in range(50)
    ]
    torn: list[object] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            versions = {thing["metadata"]["resourceVersion"] for thing in store.by("node", word="n")}
            if len(versions) > 1:
                torn.append(versions)

    thread = threading.Thread(target=read)
    thread.start()
    for state in states:
        store.replace(state)
    over.set()
    thread.join(kit.patience)
    assert torn == []
