"""Pilots: customers whom an initiative reached set against customers whom it did not, by lot or by a rollout.

Where lots were drawn, outcomes after the start are compared, given each customer's own values before it; elsewhere each
customer's change is compared. The difference over the lift of the score is what one point brings, if the initiative works
through that score alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from cxroi.linkage import Linkage, Rung, unit
from cxroi.linkage.fit import Fit, fit, independent_columns
from cxroi.linkage.ladder import RUNGS, grade_pilot
from cxroi.linkage.model import STANDARD_OUTCOMES
from cxroi.panel import Panel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Design = Literal["lot", "rollout"]
Row = Mapping[str, object]
Check = tuple[str, str, str, float, str]  # outcome, name, verdict, number, advice

FEWEST_CUSTOMERS = 50  # in each arm
FEWEST_OF_A_WAVE = 10
FEWEST_EVENTS = 10
FEWEST_OF_A_LEVEL, MOST_LEVELS = 30, 20
DOUBTFUL, CLEAR = 0.05, 0.001  # p-values of a warning and of a failure
BALANCED = 0.1  # standard deviations; Austin (2009), Statistics in Medicine 28:3083
ALIKE = 0.05  # share of the control arm's answering rate
MOST_GONE = 0.05  # share of the customers
STRONG = 10.0  # F of the lift; Staiger & Stock (1997), Econometrica 65:557
APART_WARN, APART_FAIL = 1.96, 2.58  # standard errors
UNBOUNDED = "the lift of the score is not told from 0, so a change per point is unbounded"
NO_PILOT = "no initiative has both a treated and a control arm in exposures, beside transactions"
COLUMNS = (
    *("initiative", "outcome", "estimand", "estimate", "std_error", "conf_low", "conf_high"),
    *("unit", "n_obs", "n_clusters", "evidence", "reason"),
)
CHECK_COLUMNS = ("initiative", "outcome", "name", "verdict", "number", "advice")
BALANCE_COLUMNS = ("column", "level", "treated", "control", "difference")


class Ratio(NamedTuple):
    """A difference of an outcome over the lift of a score, with the covariance matrix of the two, shape (2, 2)."""

    difference: float
    lift: float
    covariance: Floats

    @property
    def estimate(self) -> float:
        """Difference per point of the lift."""
        return self.difference / self.lift

    @property
    def std_error(self) -> float:
        """Of the ratio, by the delta method."""
        towards = np.array([1.0, -self.estimate]) / self.lift
        return float(np.sqrt(towards @ self.covariance @ towards))

    def apart(self, slope: float, std_error: float) -> float:
        """Standard errors between the difference and a slope (with its own, independent error) times the lift."""
        towards = np.array([1.0, -slope])
        variance = float(towards @ self.covariance @ towards) + (self.lift * std_error) ** 2
        return (self.difference - slope * self.lift) / float(np.sqrt(variance))


@dataclass(frozen=True)
class Pilot:
    """What initiatives with a treated and a control arm show.

    Attributes
    ----------
    exposure : str
        Score; empty where there is none, then only outcomes are compared.
    estimates : DataFrame
        A row per initiative, estimand and outcome: ``estimate, std_error, conf_low, conf_high, unit, n_obs, n_clusters,
        evidence``, or the ``reason`` why there is no figure. Estimands: ``pilot_lift`` (of the score, points; its ``outcome`` is the
        score), ``pilot_difference`` (treated less control: share retained, orders given retained, margin with the left at 0),
        ``pilot_ame`` (that difference per point of the lift).
    balance : DataFrame
        Arms at the start: ``initiative, column, level, treated, control`` (means), ``difference`` (standard deviations; in a rollout
        given declared controls).
    sizes : DataFrame
        A row per initiative: ``initiative, design`` (``lot`` or ``rollout``), ``treated, control`` (customers at the start),
        ``started`` (index of the first wave's period), ``waves, periods_before, periods_after``.
    ratios : dict of (str, str) to Ratio
        By initiative and outcome.
    """

    exposure: str
    estimates: pd.DataFrame
    balance: pd.DataFrame
    sizes: pd.DataFrame
    ratios: dict[tuple[str, str], Ratio]
    _checks: pd.DataFrame

    def __repr__(self) -> str:
        return repr(self.estimates)

    def tidy(self) -> pd.DataFrame:
        """A row per initiative, estimand and outcome."""
        return self.estimates

    def glance(self) -> pd.DataFrame:
        """A row per initiative."""
        return self.sizes

    def checks(self) -> pd.DataFrame:
        """What the comparisons rest on: ``initiative, outcome, name, verdict, number, advice``."""
        return self._checks


@dataclass(frozen=True)
class _Sample:
    """Rows of one initiative, sorted by customer and period; arrays have one entry a row unless stated.

    ``since`` counts periods from the exposure to the row's own (an outcome belongs to the period after that), ``code`` is the
    customer's position (0 … ``customers`` − 1), ``waves`` (rows, w) marks exposure × period, the first left out. Per customer:
    ``start``, what was known at the start (NaN where it was not), ``controls``, the declared ones, both as columns.
    """

    rows: pd.DataFrame
    treated: Floats
    since: Ints
    code: Ints
    waves: Floats
    customers: int
    start: pd.DataFrame
    controls: pd.DataFrame

    def outcome(self, name: str) -> Floats:
        """An outcome of the row's next period, NaN where it is not known or, for orders, not retained."""
        values = self.rows[name].to_numpy(dtype=float)
        return (
            np.where(self.rows["retained"].to_numpy(dtype=float) == 0, np.nan, values) if name == "orders" else values
        )


class _Found(NamedTuple):
    """An estimate, each customer's contribution to it, shape (customers,), and the size of its sample."""

    estimate: float
    influence: Floats
    n_obs: int
    n_clusters: int

    @property
    def std_error(self) -> float:
        return float(np.sqrt(self.influence @ self.influence))

    @property
    def p_value(self) -> float:
        return float(2 * special.ndtr(-abs(self.estimate) / self.std_error))


@dataclass(frozen=True)
class _Comparison:
    """All that one initiative shows."""

    rows: Sequence[Row]
    checks: Sequence[Check]
    balance: pd.DataFrame
    size: Row
    ratios: dict[str, Ratio]


def pilot_linkages(panel: Panel, exposure: str) -> Pilot | str:
    """Compare the arms of every initiative that has two: lift of the score, difference of outcomes, outcomes per point.

    Parameters
    ----------
    panel : Panel
    exposure : str
        ``nps``, ``csat`` or ``ces``; empty for the outcomes alone.

    Returns
    -------
    Pilot or str
        The reason in words where no initiative has both arms.

    Notes
    -----
    Customers count in the arm that they were first exposed in (intention to treat), from the wave (period) of that exposure. An
    outcome period that began after it is *after*, one that ended before it *before*; the period of the exposure itself is left
    out. Answers count from the exposure on.

    Drawn by lot: linear regression after the start on arm, wave × period, declared controls, history at the start and the own mean
    before (analysis of covariance: Vickers & Altman 2001, BMJ 323:1123; McKenzie 2012, Journal of Development Economics 99:210).
    Else: the periods before beside those after, fixed effects of customers, and a step of its own for each declared control
    (difference in differences). Whoever is compared had stayed until the start, so retention has no own value before: it is compared
    given controls and history, and so is the part of margin that runs through it. Errors are clustered by customer. Per
    point: Wald's ratio with the interval of Fieller (1954), JRSS B 16:175.
    """
    if panel.pilot is None:
        return NO_PILOT
    found: dict[str, _Comparison] = {}
    for name in panel.pilot["initiative"].cat.categories:
        rows = panel.pilot[panel.pilot["initiative"] == name].reset_index(drop=True)
        found[str(name)] = _compare(panel, exposure, rows, "lot" if name in panel.experiments else "rollout")
    rows_of = [{"initiative": name, **row} for name, one in found.items() for row in one.rows]
    checks = [(name, *check) for name, one in found.items() for check in one.checks]
    balance = pd.concat([one.balance.assign(initiative=name) for name, one in found.items()], ignore_index=True)
    return Pilot(
        exposure=exposure,
        estimates=pd.DataFrame(rows_of, columns=list(COLUMNS)),
        balance=balance[["initiative", *BALANCE_COLUMNS]],
        sizes=pd.DataFrame([{"initiative": name, **one.size} for name, one in found.items()]),
        ratios={(name, outcome): ratio for name, one in found.items() for outcome, ratio in one.ratios.items()},
        _checks=pd.DataFrame(checks, columns=list(CHECK_COLUMNS)),
    )


def agreement_checks(found: Pilot, headline: Mapping[str, Linkage]) -> pd.DataFrame:
    """Whether the headline's figure per point is that of the pilot: ``initiative, outcome, name, verdict, number, advice``.

    ``number`` is the distance in standard errors of both; the headline's slope times the lift is set against the difference, which
    needs no ratio and so holds for a weak lift too.

    Parameters
    ----------
    found : Pilot
    headline : mapping of str to Linkage
        Leading equation by outcome.
    """
    rows = []
    for (initiative, outcome), ratio in found.ratios.items():
        linkage = headline.get(outcome)
        if linkage is None or linkage.exposure != found.exposure:
            continue
        apart = ratio.apart(linkage.effect.estimate, linkage.std_error)
        size = abs(apart)
        verdict = _verdict(size > APART_FAIL, size > APART_WARN)
        advice = (
            "the leading figure and the pilot's agree within their errors"
            if verdict == "pass"
            else f"the pilot shows {'more' if apart * ratio.lift > 0 else 'less'} per point than the leading figure: either "
            "something unseen is in the leading figure, or the initiative works in other ways than through this score"
        )
        rows.append((initiative, outcome, "headline agrees with the pilot", verdict, apart, advice))
    return pd.DataFrame(rows, columns=list(CHECK_COLUMNS))


def fieller(ratio: Ratio, critical: float) -> tuple[float, float] | None:
    """Interval of a ratio: all values that the two numbers do not contradict; None where it is unbounded.

    Parameters
    ----------
    ratio : Ratio
    critical : float
        Two-sided quantile.

    Notes
    -----
    Source: Fieller (1954), JRSS B 16:175; the same as the interval of Anderson & Rubin (1949) with one instrument. Unbounded where
    the denominator is not told from 0.

    Examples
    --------
    >>> [round(end, 3) for end in fieller(Ratio(1.0, 2.0, np.diag([0.04, 0.01])), 1.96)]
    [0.302, 0.708]
    >>> fieller(Ratio(1.0, 0.1, np.diag([0.04, 0.01])), 1.96) is None
    True
    """
    scaled = critical**2 * ratio.covariance
    square = ratio.lift**2 - scaled[1, 1]
    if square <= 0:
        return None
    linear = ratio.difference * ratio.lift - scaled[0, 1]
    constant = ratio.difference**2 - scaled[0, 0]
    reach = float(np.sqrt(max(linear**2 - square * constant, 0.0)))
    return float((linear - reach) / square), float((linear + reach) / square)


def _compare(panel: Panel, exposure: str, rows: pd.DataFrame, design: Design) -> _Comparison:
    """One initiative, ``rows`` sorted by customer and period."""
    begun = rows["exposed"].isin(rows.loc[rows["period"] >= rows["exposed"], "exposed"])  # waves with an outcome after
    rows = rows[begun].reset_index(drop=True) if begun.any() else rows
    since = (rows["period"] - rows["exposed"]).to_numpy(dtype=np.int64)
    present = rows["customer"].isin(rows.loc[since >= -1, "customer"]).to_numpy()
    gone = _gone(rows, present)
    kept, apart = _with_both_arms(rows, present)
    sample = _sample(panel, exposure, rows[kept].reset_index(drop=True))
    arms = [int(np.unique(sample.code[sample.treated == arm]).size) for arm in (1, 0)]
    size = {
        "design": design,
        "treated": arms[0],
        "control": arms[1],
        "started": int(rows["exposed"].min()),
        "waves": int(rows.loc[kept, "exposed"].nunique()),
        "periods_before": int(np.unique(sample.since[sample.since <= -2]).size),
        "periods_after": int(np.unique(sample.since[sample.since >= 0]).size),
    }
    reason = _too_few(sample)
    if reason:
        outcomes = [("pilot_lift", exposure)] if exposure else []
        outcomes += [("pilot_difference", outcome) for outcome in STANDARD_OUTCOMES]
        empty = [{"outcome": outcome, "estimand": estimand, "reason": reason} for estimand, outcome in outcomes]
        return _Comparison(empty, [], pd.DataFrame(columns=list(BALANCE_COLUMNS)), size, {})
    balance, alike = _balance(sample, design)
    answering = _answering(sample, exposure) if exposure else None
    checks = [alike, *([answering] if answering else []), gone, _left(sample), _kept_apart(rows, kept), *apart]
    found = {name: _difference(panel, sample, name, design) for name in STANDARD_OUTCOMES}
    lift: _Found | str = _lift(sample, exposure, design) if exposure else ""
    trends = {}
    if design == "rollout":
        judged = [name for name in (*STANDARD_OUTCOMES, exposure) if name and name != "retained"]
        trends = {name: _trend(sample, name) for name in judged}
        checks += list(trends.values())
    stands = alike[2] != "fail" if design == "lot" else alike[2] == "pass"

    def rung(name: str) -> Rung:
        moved_alike = name not in trends or trends[name][2] == "pass"
        knows_leaving = bool(sample.rows["retained"].notna().any())
        whole = name != "retained" and not (name == "margin" and knows_leaving)
        answers = name != exposure or answering is None or answering[2] != "fail"
        return grade_pilot(by_lot=design == "lot", comparable=stands and moved_alike and answers, differenced=whole)

    rows_found: list[Row] = []
    ratios: dict[str, Ratio] = {}
    if exposure:
        rows_found.append(_row("pilot_lift", exposure, lift, "points", rung(exposure)))
    for outcome, difference in found.items():
        measure = unit(outcome, panel.currency)
        rows_found.append(_row("pilot_difference", outcome, difference, measure, rung(outcome)))
        if isinstance(difference, _Found) and isinstance(lift, _Found):
            ratios[outcome] = _ratio(difference, lift)
            weaker = min(rung(outcome), rung(exposure), key=RUNGS.index)
            rows_found.append(_per_point(outcome, ratios[outcome], difference, measure, weaker))
    if isinstance(lift, _Found):
        checks.append(_strength(lift))
    return _Comparison(rows_found, checks, balance, size, ratios)


# the sample


def _with_both_arms(rows: pd.DataFrame, present: Flags) -> tuple[Flags, list[Check]]:
    """Rows of customers who were there at the start in a wave that has both arms, and a check where a wave has not."""
    people = rows[present].drop_duplicates("customer")
    counts = pd.crosstab(people["exposed"], people["arm"]).reindex(columns=["treated", "control"], fill_value=0)
    both = counts.index[(counts >= FEWEST_OF_A_WAVE).all(axis=1)]
    kept = present & rows["exposed"].isin(both).to_numpy()
    lost = int((~people["exposed"].isin(both)).sum())
    if not lost:
        return kept, []
    advice = "customers in waves that have fewer than 10 in one of the arms; they have nobody to be compared with and are left out"
    return kept, [("", "waves with both arms", "warn", float(lost), advice)]


def _sample(panel: Panel, exposure: str, rows: pd.DataFrame) -> _Sample:
    since = (rows["period"] - rows["exposed"]).to_numpy(dtype=np.int64)
    code, people = pd.factorize(rows["customer"])
    code = code.astype(np.int64)
    wave = pd.factorize(pd.MultiIndex.from_frame(rows[["exposed", "period"]]), sort=True)[0]
    waves = np.zeros((len(rows), max(int(wave.max(initial=0)), 0)), order="F")
    later = np.flatnonzero(wave > 0)
    waves[later, wave[later] - 1] = 1.0
    n = len(people)
    at_start = rows[since == -1].set_index(code[since == -1])
    start = {name: at_start[name].reindex(range(n)).to_numpy(dtype=float) for name in panel.history}
    if exposure:
        answers = rows[exposure].to_numpy(dtype=float)
        start[f"earlier {exposure}"] = _own_means(answers, since <= -1, code, n)
    first = rows.iloc[np.unique(code, return_index=True)[1]]
    return _Sample(
        rows=rows,
        treated=np.asarray(rows["arm"] == "treated", dtype=np.float64),
        since=since,
        code=code,
        waves=waves,
        customers=n,
        start=pd.DataFrame(start, index=range(n)),
        controls=_controls(first[list(panel.controls)]),
    )


def _controls(first: pd.DataFrame) -> pd.DataFrame:
    """Declared controls of each customer as numbers: gaps at the mean with a mark, text by levels (rare ones together)."""
    columns: dict[str, Floats] = {}
    for name in first.columns:
        values = first[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            text = values.astype("object").where(values.notna(), "(missing)").astype(str)
            counts = text.value_counts()
            ordered = sorted(counts.index, key=lambda level: (-int(counts[level]), str(level)))
            common = [level for level in ordered if counts[level] >= FEWEST_OF_A_LEVEL][:MOST_LEVELS]
            shown = common[1:] if len(common) == len(counts) else common
            columns |= {f"{name}={level}": np.asarray(text == level, dtype=np.float64) for level in shown}
            continue
        columns |= _filled(str(name), values.to_numpy(dtype=float))
    return pd.DataFrame(columns, index=range(len(first)))


def _start(sample: _Sample, which: Flags | slice) -> list[dict[str, Floats]]:
    """What was known of some customers at the start, each column without gaps."""
    return [_filled(str(name), sample.start[name].to_numpy(dtype=float)[which]) for name in sample.start]


def _filled(name: str, values: Floats) -> dict[str, Floats]:
    """A column with gaps at its mean, and beside it a mark of the gaps where there are any."""
    gap = ~np.isfinite(values)
    if gap.all():
        return {}
    filled = {name: np.where(gap, values[~gap].mean(), values)}
    return filled | ({f"{name} missing": gap.astype(float)} if gap.any() else {})


def _own_means(values: Floats, where: Flags, code: Ints, n: int) -> Floats:
    """Mean of each customer over some rows, NaN without any; shape (n,)."""
    here = where & np.isfinite(values)
    counts = np.bincount(code[here], minlength=n)
    sums = np.bincount(code[here], weights=values[here], minlength=n)
    return np.asarray(np.divide(sums, counts, out=np.full(n, np.nan), where=counts > 0), dtype=np.float64)


def _too_few(sample: _Sample) -> str:
    after = sample.since >= 0
    if not after.any():
        return "no outcome period after the exposure is over yet"
    arms = [np.unique(sample.code[after & (sample.treated == arm)]).size for arm in (1, 0)]
    few = min(arms)
    return (
        f"{few} customers in the smaller arm; at least {FEWEST_CUSTOMERS} are needed" if few < FEWEST_CUSTOMERS else ""
    )


# the estimates


def _lift(sample: _Sample, exposure: str, design: Design) -> _Found | str:
    answers = sample.rows[exposure].to_numpy(dtype=float)
    given = np.isfinite(answers)
    after = given & (sample.since >= 0)
    arms = [np.unique(sample.code[after & (sample.treated == arm)]).size for arm in (1, 0)]
    if min(arms) < FEWEST_CUSTOMERS:
        return f"{min(arms)} customers of the smaller arm answered; at least {FEWEST_CUSTOMERS} are needed"
    if np.ptp(answers[after]) == 0:
        return "every answer is the same"
    if design == "lot":
        return _given_start(sample, answers, after)
    return _by_change(sample, answers, given & (sample.since <= -1), after)


def _difference(panel: Panel, sample: _Sample, outcome: str, design: Design) -> _Found | str:
    values = sample.outcome(outcome)
    known = np.isfinite(values)
    after = known & (sample.since >= 0)
    if outcome not in panel.outcomes or not after.any():
        return f"the data have no {outcome} after the start"
    happened = values[after] > 0
    events = min(int(happened.sum()), int((~happened).sum())) if outcome == "retained" else int(happened.sum())
    if events < FEWEST_EVENTS:
        return f"{events} events after the start; at least {FEWEST_EVENTS} are needed"
    if design == "lot" or outcome == "retained":
        return _given_start(sample, values, after)
    before = known & (sample.since <= -2)
    stayed = sample.rows["retained"].to_numpy(dtype=float)
    if outcome == "orders" or not np.isfinite(stayed).any():
        return _by_change(sample, values, before, after)
    kept, spent = stayed == 1, _by_change(sample, values, before & (stayed == 1), after & (stayed == 1))
    if isinstance(spent, str):
        return spent
    return _through_both(sample, _given_start(sample, stayed, after), spent, (after, kept), values)


def _given_start(sample: _Sample, values: Floats, after: Flags) -> _Found:
    """Treated less control after the start, given what was known at it."""
    own = _filled("before", _own_means(values, sample.since <= -2, sample.code, sample.customers))
    held = [column for filled in _start(sample, slice(None)) for column in filled.values()]
    fixed = np.column_stack([*own.values(), *held, *sample.controls.to_numpy(dtype=float).T, np.ones(sample.customers)])
    code = sample.code[after]
    matrix = np.column_stack([sample.treated[after], fixed[code], sample.waves[after]])
    return _first_coefficient(matrix, values[after], code, sample.customers)


def _by_change(sample: _Sample, values: Floats, before: Flags, after: Flags) -> _Found | str:
    """Treated less control in the change from before to after."""
    used = before | after
    code, is_after = sample.code[used], after[used].astype(float)
    both = np.intersect1d(sample.code[before], sample.code[after])
    treated = np.bincount(sample.code, weights=sample.treated, minlength=sample.customers)[both] > 0
    few = min(int(treated.sum()), int((~treated).sum()))
    if few < FEWEST_CUSTOMERS:
        return f"{few} customers of the smaller arm are known before and after; at least {FEWEST_CUSTOMERS} are needed"
    steps = sample.controls.to_numpy(dtype=float)[code] * is_after[:, None]
    matrix = np.column_stack([sample.treated[used] * is_after, sample.waves[used], steps])
    return _first_coefficient(_demeaned(matrix, code), _demeaned(values[used], code), code, sample.customers)


def _through_both(sample: _Sample, kept: _Found, spent: _Found, where: tuple[Flags, Flags], amounts: Floats) -> _Found:
    """Difference of amounts counting the left as 0, from the differences of staying and of amounts given stayed."""
    after, stayed = where
    treated = after & (sample.treated == 1)
    share, amount = (
        _mean(stayed.astype(float), treated, sample),
        _mean(np.where(stayed, amounts, 0.0), treated & stayed, sample),
    )
    estimate = kept.estimate * amount.estimate + spent.estimate * share.estimate - kept.estimate * spent.estimate
    influence = (
        kept.influence * (amount.estimate - spent.estimate)
        + spent.influence * (share.estimate - kept.estimate)
        + share.influence * spent.estimate
        + amount.influence * kept.estimate
    )
    return _Found(estimate, influence, kept.n_obs, kept.n_clusters)


def _mean(values: Floats, where: Flags, sample: _Sample) -> _Found:
    chosen, code = values[where], sample.code[where]
    centre = float(chosen.mean())
    apart = np.bincount(code, weights=(chosen - centre) / len(chosen), minlength=sample.customers)
    influence = np.asarray(apart, dtype=np.float64)
    return _Found(centre, influence, len(chosen), np.unique(code).size)


def _demeaned(values: Floats, code: Ints) -> Floats:
    """Less each customer's mean, shape of ``values``; ``code`` is sorted."""
    starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
    counts = np.diff(np.r_[starts, len(code)])
    shape = (-1,) + (1,) * (values.ndim - 1)
    means = np.add.reduceat(values, starts, axis=0) / counts.reshape(shape)
    return np.asarray(values - np.repeat(means, counts, axis=0), dtype=np.float64)


def _first_coefficient(matrix: Floats, values: Floats, code: Ints, customers: int) -> _Found:
    fitted = _least_squares(matrix, values, code)
    influence = np.zeros(customers)
    influence[fitted.clusters] = fitted.contributions(np.eye(len(fitted.coefficients))[:, 0])
    return _Found(float(fitted.coefficients[0]), influence, len(values), len(fitted.clusters))


def _least_squares(matrix: Floats, values: Floats, code: Ints) -> Fit:
    kept = independent_columns(matrix)
    return fit(np.asfortranarray(matrix[:, kept]), values, code, family="gaussian")


def _ratio(difference: _Found, lift: _Found) -> Ratio:
    both = np.column_stack([difference.influence, lift.influence])
    return Ratio(difference.estimate, lift.estimate, both.T @ both)


# rows and checks


def _row(estimand: str, outcome: str, found: _Found | str, measure: str, evidence: Rung) -> Row:
    common = {"outcome": outcome, "estimand": estimand, "unit": measure}
    if isinstance(found, str):
        return common | {"reason": found}
    reach = float(special.stdtrit(max(found.n_clusters - 1, 1), 0.975)) * found.std_error
    return common | {
        "estimate": found.estimate,
        "std_error": found.std_error,
        "conf_low": found.estimate - reach,
        "conf_high": found.estimate + reach,
        "n_obs": found.n_obs,
        "n_clusters": found.n_clusters,
        "evidence": evidence,
        "reason": "",
    }


def _per_point(outcome: str, ratio: Ratio, found: _Found, measure: str, evidence: Rung) -> Row:
    common = {"outcome": outcome, "estimand": "pilot_ame", "unit": measure}
    ends = fieller(ratio, float(special.stdtrit(max(found.n_clusters - 1, 1), 0.975)))
    if ends is None:
        return common | {"evidence": evidence, "reason": UNBOUNDED}
    return common | {
        "estimate": ratio.estimate,
        "std_error": ratio.std_error,
        "conf_low": ends[0],
        "conf_high": ends[1],
        "n_obs": found.n_obs,
        "n_clusters": found.n_clusters,
        "evidence": evidence,
        "reason": "",
    }


def _verdict(fails: bool, warns: bool) -> str:
    return "fail" if fails else "warn" if warns else "pass"


def _balance(sample: _Sample, design: Design) -> tuple[pd.DataFrame, Check]:
    """Means by arm at the start, and a joint test that nothing tells the arms apart (in a rollout: beyond declared controls)."""
    known = (
        np.isfinite(sample.start.to_numpy()[:, :1]).ravel()
        if sample.start.shape[1]
        else np.ones(sample.customers, bool)
    )
    first = np.searchsorted(sample.code, np.arange(sample.customers))[known]
    treated = sample.treated[first]
    exposed = sample.rows["exposed"].to_numpy()[first]
    given = [np.ones(len(first)), *((exposed == wave).astype(float) for wave in np.unique(exposed)[1:])]
    controls = {str(name): sample.controls[name].to_numpy(dtype=float)[known] for name in sample.controls}
    start = {name: column for filled in _start(sample, known) for name, column in filled.items()}
    asked = start if design == "rollout" else {**controls, **start}
    if design == "rollout":
        given += list(controls.values())
    null = np.column_stack(given)
    rows, largest = [], 0.0
    for name, column in {**controls, **start}.items():
        spread = float(column.std())
        if spread == 0:
            continue
        base = null if name in asked else null[:, : len(np.unique(exposed))]
        apart = float(np.linalg.lstsq(np.column_stack([treated, base]), column, rcond=None)[0][0]) / spread
        largest = max(largest, abs(apart)) if name in asked else largest
        label, _, level = name.partition("=")
        means = (float(column[treated == 1].mean()), float(column[treated == 0].mean()))
        rows.append((label, level, *means, apart))
    p_value = _joint_p(treated, null, np.column_stack(list(asked.values()))) if asked else 1.0
    verdict = _verdict(p_value < CLEAR, p_value < DOUBTFUL)
    if design == "rollout":
        verdict = _verdict(p_value < DOUBTFUL and largest >= BALANCED, warns=False)
    said = {
        "pass": "nothing known at the start tells the arms apart",
        "warn": "the arms differ at the start a little more than lots explain; the comparison holds what is known fixed",
        "fail": "the arms differ at the start by more than "
        + (
            "lots explain: see how they were drawn"
            if design == "lot"
            else "declared controls explain: they were chosen"
        ),
    }[verdict]
    advice = f"{said} (p {p_value:.3f}, largest difference {largest:.2f} standard deviations)"
    table = pd.DataFrame(rows, columns=list(BALANCE_COLUMNS))
    return table, ("", "arms alike at the start", verdict, p_value, advice)


def _joint_p(values: Floats, null: Floats, more: Floats) -> float:
    """p-value of the F test that ``more`` columns say nothing beyond those of the null."""
    whole = np.column_stack([null, more])
    kept = independent_columns(whole)
    added = int((kept >= null.shape[1]).sum())
    free = len(values) - len(kept)
    if not added or free < 1:
        return 1.0
    left = [
        float(((values - x @ np.linalg.lstsq(x, values, rcond=None)[0]) ** 2).sum()) for x in (null, whole[:, kept])
    ]
    return float(stats.f.sf((left[0] - left[1]) / added / (left[1] / free), added, free))


def _trend(sample: _Sample, name: str) -> Check:
    """Joint Wald test that the arms moved alike over the periods before the start."""
    label = "arms moved alike before"
    stayed = sample.rows["retained"].to_numpy(dtype=float) != 0
    is_outcome = name in STANDARD_OUTCOMES
    values = np.where(stayed, sample.outcome(name), np.nan) if is_outcome else sample.rows[name].to_numpy(dtype=float)
    used = np.isfinite(values) & (sample.since <= (-2 if is_outcome else -1))
    since, code = sample.since[used], sample.code[used]
    periods = np.unique(since)
    enough = min((np.unique(code[sample.treated[used] == arm]).size for arm in (1, 0)), default=0)
    if len(periods) < 2 or enough < FEWEST_CUSTOMERS:
        advice = (
            "fewer than two periods before the start, so nobody can see whether the arms moved alike: keep them longer"
        )
        return name, label, "warn", np.nan, advice
    leads = [sample.treated[used] * (since == period) for period in periods[:-1]]
    slopes = sample.controls.to_numpy(dtype=float)[code] * since[:, None]
    matrix = _demeaned(np.column_stack([*leads, sample.waves[used], slopes]), code)
    kept = independent_columns(matrix)
    fitted = fit(np.asfortranarray(matrix[:, kept]), _demeaned(values[used], code), code, family="gaussian")
    own = np.flatnonzero(kept < len(leads))
    apart, covariance = fitted.coefficients[own], fitted.covariance[np.ix_(own, own)]
    p_value = float(special.chdtrc(len(own), float(apart @ np.linalg.solve(covariance, apart))))
    verdict = _verdict(p_value < DOUBTFUL, warns=False)
    said = (
        "over the periods before the start the arms moved alike"
        if verdict == "pass"
        else "the arms drifted apart before the start already"
    )
    return name, label, verdict, p_value, f"{said} (p {p_value:.3f}, {len(periods)} periods)"


def _answering(sample: _Sample, exposure: str) -> Check:
    answered = np.asarray(sample.rows[exposure].notna(), dtype=np.float64)
    after = sample.since >= 0
    found = _given_start(sample, answered, after)
    usual = float(answered[after & (sample.treated == 0)].mean())
    p_value = found.p_value if found.std_error > 0 else 1.0
    wide = abs(found.estimate) > ALIKE * usual
    verdict = _verdict(p_value < CLEAR and wide, p_value < DOUBTFUL)
    said = {
        "pass": "both arms answered alike",
        "warn": "one arm answered somewhat more often, so the lift is partly who answered",
        "fail": "one arm answered clearly more often, so the lift is not told from who answered",
    }[verdict]
    advice = f"{said} ({usual:.1%} of the controls, {found.estimate:+.1%} among the treated)"
    return "", "both arms answer alike", verdict, found.estimate, advice


def _gone(rows: pd.DataFrame, present: Flags) -> Check:
    people = rows.assign(present=present).drop_duplicates("customer")
    share = float(1 - people["present"].mean())
    p_value = _two_shares(1 - people["present"].to_numpy(dtype=float), (people["arm"] == "treated").to_numpy())
    verdict = _verdict(p_value < CLEAR and share > MOST_GONE, p_value < DOUBTFUL or share > MOST_GONE)
    advice = "share of the customers who were gone before the start; they are left out of both arms" + (
        "" if verdict == "pass" else ": see from which list, and when, the arms were drawn"
    )
    return "", "gone before the start", verdict, share, advice


def _two_shares(marks: Floats, first: Flags) -> float:
    """p-value of the difference of two shares, 1 where nobody or everybody is marked."""
    share, n = float(marks.mean()), (int(first.sum()), int((~first).sum()))
    if share in (0.0, 1.0) or min(n) == 0:
        return 1.0
    error = np.sqrt(share * (1 - share) * (1 / n[0] + 1 / n[1]))
    return float(2 * special.ndtr(-abs(marks[first].mean() - marks[~first].mean()) / error))


def _left(sample: _Sample) -> Check:
    stayed = sample.rows["retained"].to_numpy(dtype=float)
    here = (sample.since == -1) & np.isfinite(stayed)
    name = "left as it began"
    if not here.any() or stayed[here].std() == 0:
        return "", name, "pass", 0.0, "nobody left in the period of the start"
    found = _given_start(sample, stayed, here)
    verdict = "pass" if found.p_value >= DOUBTFUL else "warn"
    said = "as many left in both arms in the period of the start, which is left out"
    if verdict == "warn":
        said = "the arms differ in who left in the period of the start, which is left out: later comparisons miss that part"
    return "", name, verdict, found.estimate, said


def _kept_apart(rows: pd.DataFrame, kept: Flags) -> Check:
    controls = rows[kept & (rows["arm"] == "control").to_numpy()].drop_duplicates("customer")
    share = float(controls["treated_later"].mean()) if len(controls) else 0.0
    advice = "share of the controls who were exposed later all the same; they count as controls, so what is found is too small"
    return "", "assignment kept", "pass" if share <= MOST_GONE else "warn", share, advice


def _strength(lift: _Found) -> Check:
    strength = (lift.estimate / lift.std_error) ** 2
    verdict = _verdict(strength < APART_WARN**2, strength < STRONG)
    said = {
        "pass": "F of the lift: it is clear enough for a change per point",
        "warn": "F of the lift: it is barely clear, so the change per point is wide; its interval counts that",
        "fail": "F of the lift: it is not told from 0, so the change per point is unbounded",
    }[verdict]
    return "", "lift is clear", verdict, strength, said
