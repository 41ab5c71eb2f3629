"""What a reflector has seen, by key and by indexes, for many readers.

Objects are shared, not copied: five thousand of them twice would be the controller's whole memory. Whoever reads one
must not change it; the type says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from virtfn.kube.resource import Object, uid_of, version_of

Indexer = Callable[[Object], Iterable[str]]
"""The words under which an object can be found, such as the name of its node."""


class ChangeKind(Enum):
    """What happened to an object, as far as the store saw it."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the store before and after. `old` is None for ADDED, `new` for DELETED."""

    kind: ChangeKind
    key: str
    old: Object | None
    new: Object | None

    @property
    def thing(self) -> Object:
        """The newest that is known of the object."""
        thing = self.new if self.new is not None else self.old
        assert thing is not None
        return thing


class Store:
    """Objects by key, thread-safe; one writer, many readers.

    An indexer that raises stops the write: it is the program's own mistake, never the object's.
    """

    def __init__(self, *, indexers: Mapping[str, Indexer] | None = None) -> None:
        self._lock = threading.RLock()
        self._objects: dict[str, Object] = {}
        self._indexers = dict(indexers or {})
        self._indexes: dict[str, dict[str, dict[str, None]]] = {name: {} for name in self._indexers}

    def get(self, key: str) -> Object | None:
        """The object, or None."""
        with self._lock:
            return self._objects.get(key)

    def keys(self) -> tuple[str, ...]:
        """All keys at this moment."""
        with self._lock:
            return tuple(self._objects)

    def objects(self) -> tuple[Object, ...]:
        """All objects at this moment, in the order in which their keys first came."""
        with self._lock:
            return tuple(self._objects.values())

    def keys_by(self, index: str, *, word: str) -> tuple[str, ...]:
        """The keys that an indexer put under a word.

        :raises KeyError: if there is no such index.
        """
        with self._lock:
            return tuple(self._indexes[index].get(word, ()))

    def by(self, index: str, *, word: str) -> tuple[Object, ...]:
        """The objects that an indexer put under a word.

        :raises KeyError: if there is no such index.
        """
        with self._lock:
            return tuple(self._objects[key] for key in self._indexes[index].get(word, ()))

    def words(self, index: str) -> tuple[str, ...]:
        """All words of an index that have objects.

        :raises KeyError: if there is no such index.
        """
        with self._lock:
            return tuple(self._indexes[index])

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: str) -> bool:
        return key in self._objects

    def put(self, key: str, *, thing: Object) -> tuple[Change, ...]:
        """Store an object. No change if its resource version is known already.

        Another UID under the same key is a deletion that was not seen, and a new object.
        """
        with self._lock:
            old = self._objects.get(key)
            if old is not None and version_of(old) and version_of(old) == version_of(thing):
                return ()
            self._enter(key, old=old, new=thing)
        if old is None:
            return (Change(ChangeKind.ADDED, key, None, thing),)
        if uid_of(old) != uid_of(thing):
            return (Change(ChangeKind.DELETED, key, old, None), Change(ChangeKind.ADDED, key, None, thing))
        return (Change(ChangeKind.MODIFIED, key, old, thing),)

    def remove(self, key: str) -> tuple[Change, ...]:
        """Forget an object. No change if it was not there."""
        with self._lock:
            old = self._objects.get(key)
            if old is None:
                return ()
            self._enter(key, old=old, new=None)
        return (Change(ChangeKind.DELETED, key, old, None),)

    def replace(self, everything: Mapping[str, Object]) -> tuple[Change, ...]:
        """Make a list the content. The changes are the differences; what is not in the list was deleted unseen."""
        with self._lock:
            changes = [change for key in self.keys() if key not in everything for change in self.remove(key)]
            for key, thing in everything.items():
                changes += self.put(key, thing=thing)
        return tuple(changes)

    def _enter(self, key: str, *, old: Object | None, new: Object | None) -> None:
        # All indexers are asked before anything is written, so that one that raises leaves the store as it was.
        words = {
            name: (
                tuple(dict.fromkeys(indexer(old))) if old is not None else (),
                tuple(dict.fromkeys(indexer(new))) if new is not None else (),
            )
            for name, indexer in self._indexers.items()
        }
        for name, (before, after) in words.items():
            index = self._indexes[name]
            for word in before:
                if word not in after and word in index:
                    index[word].pop(key, None)
                    if not index[word]:
                        del index[word]
            for word in after:
                index.setdefault(word, {})[key] = None
        if new is None:
            del self._objects[key]
        else:
            self._objects[key] = new
