"""What a golden case's check found: one line per array, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field

REQUIRED_SHARE = 0.95


@dataclass(frozen=True)
class Check:
    """One quantity compared. error, tolerance: at the element that comes closest to failing, or fails worst."""

    quantity: str
    error: float
    tolerance: float
    passed: bool
    note: str = ""

    @property
    def verdict(self) -> str:
        """ok, or FAILED with the reason where the numbers do not show it."""
        return "ok" if self.passed else f"FAILED{self.note and ': '}{self.note}"


@dataclass
class Report:
    """The checks of one case.

    case: its name, method/case. arrays: the expected arrays. not_run: why the case could not be run on this machine,
    with the remedy; such a case neither passes nor fails.
    """

    case: str
    arrays: frozenset[str]
    checks: list[Check] = field(default_factory=list)
    not_run: str | None = None

    def add(self, quantity: str, error: float, tolerance: float, note: str = "") -> None:
        """Record a comparison; an error that is NaN fails."""
        self.checks.append(Check(quantity, error, tolerance, bool(error <= tolerance), note))

    @property
    def unchecked(self) -> list[str]:
        """Expected arrays that nothing was compared with."""
        return sorted(self.arrays - {c.quantity for c in self.checks})

    @property
    def failed(self) -> list[str]:
        """Quantities outside their tolerance."""
        return [c.quantity for c in self.checks if not c.passed]

    @property
    def covered(self) -> bool:
        """Was enough of the case checked?"""
        return len(self.unchecked) <= (1 - REQUIRED_SHARE) * len(self.arrays) and bool(self.checks)

    @property
    def passed(self) -> bool:
        """Did nothing fail?"""
        return self.not_run is not None or (self.covered and not self.failed)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Case, quantity, max abs error, tolerance, verdict."""
        checked = [(self.case, c.quantity, f"{c.error:.2g}", f"{c.tolerance:.2g}", c.verdict) for c in self.checks]
        if self.not_run:
            return [(self.case, "all", "", "", "not run")]
        return checked + [(self.case, name, "", "", "unchecked") for name in self.unchecked]

    def summary(self) -> str:
        """The verdict in one line."""
        if self.not_run:
            return f"{self.case}: not run: {self.not_run}"
        found = f"{len(self.arrays) - len(self.unchecked)} of {len(self.arrays)} arrays checked"
        if self.failed:
            return f"{self.case}: FAILED in {len(self.failed)} quantities ({found})"
        if not self.covered:
            return f"{self.case}: FAILED, only {found}"
        return f"{self.case}: passed ({found})"
