"""Dataclasses of which Python makes the methods when they are first needed, not when their module is imported.

Making a frozen one takes a millisecond, and a command imports some 300, of which it needs a third.
"""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import asdict, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

__all__ = ["asdict", "dataclass", "field", "fields", "is_dataclass", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, **parameters: Any) -> Any:
        """Like ``dataclasses.dataclass``; the class is made into one by its first instance, or who asks for its fields.

        One with slots is a new class, and is made at once.
        """
        if cls is None:
            return lambda each: dataclass(each, **parameters)
        if parameters.get("slots"):
            return dataclasses.dataclass(cls, **parameters)
        late = LateFields(cls, parameters)

        def __init__(self: Any, *positional: Any, **named: Any) -> None:
            late.make()
            cls.__init__(self, *positional, **named)

        cls.__init__, cls.__dataclass_fields__ = __init__, late
        return cls


_making = threading.RLock()  # the fields of a class need those of the class that it extends


class LateFields:
    """Stands for ``__dataclass_fields__`` in a class that is not made into a dataclass yet."""

    def __init__(self, cls: Any, parameters: dict[str, Any]) -> None:
        self._cls, self._parameters = cls, parameters

    def __get__(self, instance: object, owner: type) -> Any:
        self.make()
        return self._cls.__dataclass_fields__

    def make(self) -> None:
        with _making:
            if vars(self._cls).get("__dataclass_fields__") is self:  # no other thread was first
                dataclasses.dataclass(**self._parameters, init=False)(self._cls)
                self._cls.__init__ = self._init()

    def _init(self) -> Any:
        """The real ``__init__``, made on a subclass, so that no thread ever finds the class itself without one."""
        like = type(self._cls.__name__, (self._cls,), {"__qualname__": self._cls.__qualname__})
        frozen = self._parameters.get("frozen", False)
        return vars(dataclasses.dataclass(frozen=frozen, eq=False, repr=False)(like))["__init__"]
