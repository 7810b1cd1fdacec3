"""What a picture can be translated to: domains by name, and the labels (D,) of 0 and 1 that say of which it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganforge.errors import UserError, require

if TYPE_CHECKING:
    from torch import Tensor

MOST = 1000  # domains
LONGEST = 100  # characters of a name
_SHOWN = 50


@dataclass(frozen=True)
class Domains:
    """The names of the labels, and how they exclude each other.

    one_of_many: a picture is of exactly one domain. Else each is an attribute that it has or has not; exclusive: groups
    of attributes of which it has one at most, such as the colours of hair. Raises UserError for names that are no
    plain words, that are there twice, and for groups of others.
    """

    names: tuple[str, ...]
    one_of_many: bool
    exclusive: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        least = 2 if self.one_of_many else 1
        require(
            least <= len(self.names) <= MOST,
            f"{len(self.names)} domains ({', '.join(self.names[:_SHOWN])}): {least} to {MOST} are needed",
        )
        wrong = [name for name in self.names if not _is_plain(name)]
        require(not wrong, f"domains of the names {wrong[:5]}: {LONGEST} or fewer characters that can be printed")
        require(len(set(self.names)) == len(self.names), f"the domains {', '.join(self.names)} are not all different")
        grouped = [name for group in self.exclusive for name in group]
        strange = [name for name in grouped if name not in self.names]
        require(
            not strange and len(set(grouped)) == len(grouped) and not (grouped and self.one_of_many),
            f"data.exclusive={[list(group) for group in self.exclusive]}: groups of the attributes "
            f"{', '.join(self.names)}, each in one group at most",
        )

    def index(self, name: str, said: str) -> int:
        """The place of a domain; raises UserError that lists them. said: the argument that names it."""
        require(
            name in self.names,
            f"{said}: no such {'domain' if self.one_of_many else 'attribute'}; choose one of "
            + ", ".join(self.names[:_SHOWN])
            + ", ..." * (len(self.names) > _SHOWN),
        )
        return self.names.index(name)

    def excluded(self, index: int) -> list[int]:
        """The domains of which a picture cannot be as well."""
        if self.one_of_many:
            return [other for other in range(len(self.names)) if other != index]
        group = next((group for group in self.exclusive if self.names[index] in group), ())
        return [self.names.index(name) for name in group if name != self.names[index]]

    def with_label(self, labels: Tensor, index: int, value: Tensor | float = 1.0) -> Tensor:
        """Labels (..., D) with that of a domain changed; where it becomes 1, those that it excludes become 0."""
        import torch

        changed = labels.clone()
        changed[..., index] = value
        for other in self.excluded(index):
            changed[..., other] = torch.where(changed[..., index] == 1, 0.0, changed[..., other])
        return changed

    def asked(self, labels: Tensor, index: int) -> Tensor:
        """The labels (..., D) that a picture with these is translated to, in grids and for the numbers.

        To the domain; an attribute is turned round, but for one of an exclusive group, which is put in the place of the
        others, as the authors of StarGAN show the colours of hair.
        """
        value = 1.0 if self.excluded(index) else 1 - labels[..., index]
        return self.with_label(labels, index, value)

    def to_card(self) -> dict[str, Any]:
        """Plain values for a checkpoint's card."""
        groups = [list(group) for group in self.exclusive]
        return {"names": list(self.names), "one_of_many": self.one_of_many, "exclusive": groups}

    @classmethod
    def from_card(cls, card: Any) -> Domains:
        """The domains that a checkpoint of someone else names; raises UserError for whatever else stands there."""
        if not isinstance(card, Mapping) or card.keys() != {"names", "one_of_many", "exclusive"}:
            raise UserError("the domains of a checkpoint: names, one_of_many and exclusive are expected")
        groups = card["exclusive"]
        words = _are_words(card["names"]) and isinstance(groups, list | tuple) and all(map(_are_words, groups))
        require(words and isinstance(card["one_of_many"], bool), "the domains of a checkpoint: names are expected")
        return cls(tuple(card["names"]), card["one_of_many"], tuple(map(tuple, groups)))

    @classmethod
    def is_card(cls, card: Any) -> bool:
        """Whether `from_card` would take it; None is no domains."""
        try:
            return card is None or bool(cls.from_card(card))
        except UserError:
            return False


def _is_plain(name: str) -> bool:
    return 0 < len(name) <= LONGEST and name.isprintable() and name.strip() == name


def _are_words(value: Sequence[Any]) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)
