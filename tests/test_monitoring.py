"""The dashboard, the alert rules and the page about metrics, against the metrics that a gateway has.

`promtool` of Debian's package `prometheus` reads every expression, and lets every alert fire and not fire.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.cli.command import serving
from tests.support.lacking import program
from tests.support.valkey import running_valkey

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[1]
MONITORING = ROOT / "deploy" / "monitoring"
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((MONITORING / "alerts.yml").read_text())
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]

GROWTH = re.compile(r"\bincrease\((gateway_[a-z0-9_]+)(?:\{([^}]*)\})?\[")
MATCHER = re.compile(r"(\w+)(=~?)\"([^\"]*)\"")

OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that Prometheus adds, or that each histogram has."""

NAME = re.compile(r"\b(gateway_[a-z0-9_]+)(\{[^}]*\})?")
BY = re.compile(r"\bby \(([^)]*)\)")


@pytest.fixture(scope="module")
def promtool() -> str:
    return program("promtool", "prometheus")


@dataclass(frozen=True)
class Exported:
    """What a gateway shows: the names in its text, and the labels that each metric is documented with."""

    text: str

    @property
    def names(self) -> set[str]:
        """The names of families, and those of series that have a value."""
        families = set(re.findall(r"^# HELP (\S+)", self.text, re.MULTILINE))
        histograms = re.findall(r"^# TYPE (\S+) histogram", self.text, re.MULTILINE)
        return families | {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """The metrics of a live gateway with two workers."""
    folder = tmp_path_factory.mktemp("gateway")
    with running_valkey() as valkey, serving(folder, "--workers", "2", GATEWAY_BUS_URL=valkey.url) as served:
        yield Exported(httpx2.get(f"{served.url}/metrics", timeout=20).text)


def documented() -> dict[str, set[str]]:
    """The labels of each metric in the tables of the page."""
    table = PAGE.partition("\n## Metrics\n")[2].partition("\n## Alerts\n")[0]
    cells = " ".join(row.split("|")[1] for row in table.splitlines() if row.startswith("| `"))
    found = re.findall(r"`(gateway_\w+)(?:\{([^}]*)\})?`", cells)
    return {name: set(filter(None, labels.split(","))) for name, labels in found}


def labels_of(name: str) -> set[str]:
    """The labels of a series, or nothing for a metric that the page does not have."""
    known = documented()
    for ending in ("_bucket", "_count", "_sum"):
        if name not in known:
            name = name.removesuffix(ending)
    return known.get(name, set())


def test_the_page_has_a_line_for_every_metric_with_its_labels_and_for_no_other(exported: Exported) -> None:
    served = {name for name in re.findall(r"^# HELP (\S+)", exported.text, re.MULTILINE) if "_process_" not in name}
    assert set(documented()) == served
    for family in text_string_to_metric_families(exported.text):
        for sample in family.samples:
            if "_process_" not in sample.name:
                assert sample.labels.keys() - {"worker", "le"} <= labels_of(sample.name), sample


def panels() -> list[dict[str, Any]]:
    """The panels that draw something."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of the dashboard and of the rules, by the title of its panel or the name of its alert."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], as_prometheus_sees_it(target["expr"])
    for annotation in DASHBOARD["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], as_prometheus_sees_it(annotation["expr"])
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]


def as_prometheus_sees_it(expression: str) -> str:
    """Put values in the place of Grafana's variables."""
    for name, value in (("$job", ".*"), ("$instance", ".*"), ("$__rate_interval", "1m")):
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def test_every_expression_names_only_metrics_and_labels_that_exist(exported: Exported) -> None:
    for title, expression in expressions():
        used = NAME.findall(expression)
        assert used or expression.startswith("up{"), title
        known: set[str] = set(OF_PROMETHEUS | {"worker"})
        for name, matchers in used:
            assert name in exported.names, f"{title}: {name}"
            matched = set(re.findall(r"(\w+)\s*[=!]~?\"", matchers))
            assert matched <= labels_of(name) | OF_PROMETHEUS, f"{title}: {name}{matchers}"
            known |= labels_of(name)
        for labels in BY.findall(expression):
            assert {label.strip() for label in labels.split(",")} <= known, f"{title}: by ({labels})"


def test_a_counter_of_an_alert_is_there_before_it_counts(exported: Exported) -> None:
    # `increase` finds no growth in a series that begins with 1.
    shown = [sample for family in text_string_to_metric_families(exported.text) for sample in family.samples]
    for alert in ALERTS:
        for name, matchers in GROWTH.findall(alert["expr"]):
            if not name.startswith("gateway_hook_"):  # this gateway has no hook
                wanted = MATCHER.findall(matchers)
                assert any(each.name == name and is_matched(each.labels, wanted) for each in shown), alert["alert"]
    reasons = {each.labels["reason"] for each in shown if each.name == "gateway_newcomers_refused_total"}
    assert reasons == {"overloaded", "draining"}
    reasons = {each.labels["reason"] for each in shown if each.name == "gateway_bus_rejected_total"}
    assert reasons == {"foreign", "version", "head", "text", "channel"}
    loops = {each.labels["loop"] for each in shown if each.name == "gateway_faults_contained_total"}
    assert "revocations" in loops


def is_matched(labels: Mapping[str, str], matchers: Iterable[tuple[str, str, str]]) -> bool:
    """Return whether labels have the wanted values."""
    return all(
        re.fullmatch(value, labels[name]) if operator == "=~" else labels[name] == value
        for name, operator, value in matchers
    )


def test_every_legend_names_labels_that_its_expression_keeps() -> None:
    for panel in panels():
        for target in panel["targets"]:
            kept = {label.strip() for labels in BY.findall(target["expr"]) for label in labels.split(",")}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]


def test_promtool_reads_every_expression_and_the_rules(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": each} for number, (_, each) in enumerate(expressions())]
    assert len(rules) > 100
    (tmp_path / "all.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    run(promtool, "check", "rules", str(tmp_path / "all.yml"), str(MONITORING / "alerts.yml"))
    run(promtool, "check", "config", "--syntax-only", str(MONITORING / "prometheus.yml"))


def run(*command: str, given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_reads_the_metrics_and_finds_no_error(promtool: str, exported: Exported) -> None:
    done = subprocess.run(
        (promtool, "check", "metrics"), input=exported.text, capture_output=True, text=True, timeout=60, check=False
    )
    # Its advice is on standard error: 3 stands for advice, and 1 for a text that it cannot read.
    assert done.returncode in {0, 3}, done.stderr
    advice = [line for line in done.stderr.splitlines() if "gateway_process" not in line]
    assert advice == [], done.stderr


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    assert DASHBOARD["schemaVersion"] >= 36  # of Grafana 9.0: a data source is an object with a `uid`
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        names = [target["refId"] for target in panel["targets"]]
        assert len(names) == len(set(names))
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "job", "instance"]


def test_no_two_panels_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]


def test_every_alert_says_how_bad_it_is_what_to_do_and_where_to_read_on() -> None:
    headings = re.findall(r"^#### (\w+)$", PAGE, re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]
    for alert in ALERTS:
        assert alert["labels"] == {"severity": alert["labels"]["severity"]}
        assert alert["labels"]["severity"] in {"critical", "warning"}
        notes = alert["annotations"]
        assert notes.keys() == {"summary", "description", "runbook"}
        assert notes["description"].endswith(".")
        assert notes["runbook"] == f"docs/monitoring.md#{alert['alert'].lower()}"


def test_the_job_of_the_example_is_that_of_the_rules() -> None:
    example = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    [job] = example["scrape_configs"]
    assert f'job="{job["job_name"]}"' in (MONITORING / "alerts.yml").read_text()
    assert example["rule_files"] == ["alerts.yml"]


@dataclass(frozen=True)
class Case:
    """Series that let an alert fire, and such that do not; each with its values, one a minute."""

    fires: Mapping[str, str]
    quiet: Mapping[str, str]
    labels: Mapping[str, str]
    """What the alert says, beside its job, its node and its severity."""


AT = 'job="json-gateway",instance="a"'
GROWS, STAYS = "0+60x30", "7x30"


def value(name: str, fires: str, quiet: str, **labels: str) -> Case:
    """An alert about one series, whose labels it keeps."""
    more = "".join(f',{label}="{each}"' for label, each in labels.items())
    series = f"{name}{{{AT}{more}}}"
    return Case({series: fires}, {series: quiet}, labels)


def grows(name: str, **labels: str) -> Case:
    """An alert about the growth of a counter."""
    return value(name, GROWS, STAYS, **labels)


def slow(name: str, matched: str = "", **labels: str) -> Case:
    """An alert about a histogram: nearly all values are over or under a bound."""
    more = "".join(f',{label}="{each}"' for label, each in labels.items())

    def buckets(*below: str) -> dict[str, str]:
        bounds = ("0.1", "2.5", "+Inf")
        at = [f'{name}_bucket{{{AT}{matched}{more},le="{bound}"}}' for bound in bounds]
        return dict(zip(at, below, strict=True))

    return Case(buckets("0x30", "0+60x30", "0+60x30"), buckets("0+60x30", "0+60x30", "0+60x30"), labels)


def share(name: str, bad: str, good: str, **labels: str) -> Case:
    """An alert about a share of a counter."""
    more = "".join(f',{label}="{each}"' for label, each in labels.items())
    of_bad, of_good = f"{name}{{{AT}{more},{bad}}}", f"{name}{{{AT}{more},{good}}}"
    return Case({of_bad: GROWS, of_good: GROWS}, {of_bad: STAYS, of_good: GROWS}, labels)


def both(case: Case, series: str, needed: str) -> Case:
    """An alert that also needs another series: without its value, it is quiet."""
    other = f"{series}{{{AT}}}"
    wrong = "0x30" if needed != "0x30" else "1x30"
    return Case({**case.fires, other: needed}, {**case.fires, other: wrong}, case.labels)


NODES = ('gateway_nodes{job="json-gateway",instance="a"}', 'gateway_nodes{job="json-gateway",instance="b"}')

CASES: dict[str, Case] = {
    "GatewayDown": value("up", "0x30", "1x30"),
    "GatewayWorkerDown": value("gateway_worker_up", "0x30", "1x30", worker="1"),
    "GatewayRestarts": value("gateway_process_start_time_seconds", "0+60x30", "7x30"),
    "GatewayFault": grows("gateway_faults_contained_total", loop="bus"),
    "GatewayLoopBlocked": slow("gateway_loop_lag_seconds", worker="0"),
    "GatewayWorkStuck": value("gateway_work_age_seconds", "9000x30", "1x30", loop="revocations"),
    "GatewayOutOfDescriptors": grows("gateway_connections_refused_total"),
    "GatewayNearlyFull": Case(
        {f"gateway_connections{{{AT}}}": "95x30", f"gateway_connections_max{{{AT}}}": "100x30"},
        {f"gateway_connections{{{AT}}}": "85x30", f"gateway_connections_max{{{AT}}}": "100x30"},
        {},
    ),
    "GatewayOverloaded": grows("gateway_newcomers_refused_total", reason="overloaded"),
    "GatewaySlow": slow("gateway_handling_seconds", ',type="ping"'),
    "GatewayErrors": share("gateway_answers_total", 'status="50300"', 'status="20000"'),
    "GatewaySlowConsumers": grows("gateway_connections_ended_total", code="4508", reason="slow_consumer"),
    "GatewayStoreNotWritable": value("gateway_store_writable", "0x30", "1x30"),
    "GatewayWritesWait": Case(
        {f"gateway_writes_waiting{{{AT}}}": "60x30", f"gateway_writes_waiting_max{{{AT}}}": "100x30"},
        {f"gateway_writes_waiting{{{AT}}}": "40x30", f"gateway_writes_waiting_max{{{AT}}}": "100x30"},
        {},
    ),
    "GatewaySlowCommits": slow("gateway_commit_seconds"),
    "GatewayStoreFailures": Case(
        {f'gateway_store_failures_total{{{AT},operation="query"}}': GROWS},
        {f'gateway_store_failures_total{{{AT},operation="query"}}': STAYS},
        {},
    ),
    "GatewayDiskFull": value("gateway_disk_free_bytes", "1000000x30", "9000000000x30"),
    "GatewayBusDown": value("gateway_bus_up", "0x30", "1x30"),
    "GatewayBusSlow": slow("gateway_bus_lag_seconds"),
    "GatewayBusDrops": both(grows("gateway_bus_dropped_total"), "gateway_bus_up", "1x30"),
    "GatewayBusRejects": grows("gateway_bus_rejected_total", reason="head"),
    "GatewaySharedStateDown": both(value("gateway_shared_up", "0x30", "1x30"), "gateway_bus_up", "1x30"),
    "GatewayNodesDisagree": Case(
        dict(zip(NODES, ("1x30", "2x30"), strict=True)),
        dict(zip(NODES, ("2x30", "2x30"), strict=True)),
        {"instance": ""},
    ),
    "GatewayResyncs": grows("gateway_resyncs_total"),
    "GatewayLogInsFail": Case(
        {f'gateway_logins_total{{{AT},what="log_in",outcome="wrong_password"}}': "0+600x30"},
        {f'gateway_logins_total{{{AT},what="log_in",outcome="ok"}}': "0+600x30"},
        {},
    ),
    "GatewayHashQueueFull": grows("gateway_hashes_turned_away_total"),
    "GatewayTokensRefused": Case(
        {f'gateway_credentials_refused_total{{{AT},service="acme",check="key"}}': "0+600x30"},
        {f'gateway_credentials_refused_total{{{AT},service="acme",check="expired"}}': "0+600x30"},
        {"service": "acme", "instance": ""},
    ),
    "GatewayBreakerOpen": value("gateway_upstream_breaker", "2x30", "1x30", route="bot.*"),
    "GatewayUpstreamFails": share("gateway_upstream_calls_total", 'outcome="failed"', 'outcome="reply"', route="bot.*"),
    "GatewayAuthorizeFails": grows("gateway_authorize_questions_total", outcome="timeout"),
    "GatewayRoutesRefused": grows("gateway_routes_reloads_total", result="refused"),
    "GatewayHookLosesEvents": grows("gateway_hook_events_total", hook="crm", outcome="dropped"),
    "GatewayHookBehind": value("gateway_hook_oldest_seconds", "900x30", "5x30", hook="crm"),
    "GatewayHookParked": grows("gateway_hook_events_total", hook="crm", outcome="parked"),
    "GatewayHookDisabled": value("gateway_hook_disabled", "1x30", "0x30", hook="crm"),
}


def series(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": each} for name, each in values.items()]


def alerts_of(alert: Mapping[str, Any], case: Case) -> list[dict[str, Any]]:
    """What promtool is to find: the alert with its labels, and with these in its annotations."""
    labels = {"job": "json-gateway", "instance": "a", "severity": alert["labels"]["severity"], **case.labels}
    labels = {name: each for name, each in labels.items() if each}
    notes = {
        name: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
        for name, text in alert["annotations"].items()
    }
    return [{"exp_labels": labels, "exp_annotations": notes}]


def checks_of(alert: Mapping[str, Any], case: Case) -> Iterable[dict[str, Any]]:
    for values, expected in ((case.fires, alerts_of(alert, case)), (case.quiet, [])):
        yield {
            "interval": "1m",
            "name": alert["alert"],
            "input_series": series(values),
            "alert_rule_test": [{"eval_time": "20m", "alertname": alert["alert"], "exp_alerts": expected}],
        }


def test_every_alert_fires_and_is_quiet_as_it_should(promtool: str, tmp_path: Path) -> None:
    assert list(CASES) == [alert["alert"] for alert in ALERTS]
    tests = [check for alert in ALERTS for check in checks_of(alert, CASES[alert["alert"]])]
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(MONITORING / "alerts.yml")], "tests": tests}))
    run(promtool, "test", "rules", str(file))


def test_the_first_fault_of_a_loop_lets_its_alert_fire_for_ten_minutes(promtool: str, tmp_path: Path) -> None:
    [alert] = (alert for alert in ALERTS if alert["alert"] == "GatewayFault")
    first = f'gateway_faults_contained_total{{{AT},loop="bus"}}'
    fired = alerts_of(alert, Case({}, {}, {"loop": "bus"}))
    times: tuple[tuple[str, list[dict[str, Any]]], ...] = (("14m", []), ("15m", fired), ("24m", fired), ("26m", []))
    test = {
        "interval": "1m",
        "input_series": series({first: "_x15 1x30"}),
        "alert_rule_test": [
            {"eval_time": time, "alertname": "GatewayFault", "exp_alerts": expected} for time, expected in times
        ],
    }
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(MONITORING / "alerts.yml")], "tests": [test]}))
    run(promtool, "test", "rules", str(file))
