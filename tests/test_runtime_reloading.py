"""The config read again: what may change, what is refused, and that nothing is taken of a broken one."""

from __future__ import annotations

import pytest
import yaml
from feeds import merged, write_config
from structlog.testing import capture_logs

from streamad.config import load_config
from streamad.errors import ConfigError
from streamad.job import Job, check_burst, check_times
from streamad.runtime import reloading as module
from streamad.runtime.reloading import Reloading


@pytest.fixture
def path(tmp_path):
    return write_config(tmp_path)


@pytest.fixture(autouse=True)
def configured(monkeypatch):
    """The log levels that were set up."""
    levels = []
    monkeypatch.setattr(module, "configure_logs", lambda options: levels.append(options.level))
    return levels


def change(path, **changes):
    path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), changes), sort_keys=False))


def asked(path, config, **options):
    """What comes of asking, and what is logged of it."""
    reloading = Reloading(lambda: load_config(path), **options)
    reloading.ask()
    with capture_logs() as logs:
        news = reloading.news(config)
    told = [(log["event"], log.get("key", log.get("changed"))) for log in logs]
    return news, told


def test_budget_burst_rule_and_log_level_are_taken(path, configured):
    config = load_config(path)
    change(
        path, alerts={"budget": "20/h", "burst": {"by": ["service"], "within": "5m"}}, log={"level": "error"}
    )
    news, told = asked(path, config)
    assert news == load_config(path)
    assert told == [("config_read", ["alerts.budget", "alerts.burst", "log.level"])]
    assert configured == ["error"]


def test_other_changes_are_named_and_refused_and_the_rest_is_taken(path):
    config = load_config(path)
    change(
        path,
        alerts={"budget": 0.5, "reasons": 5},
        training={"window": {"records": 777}},
        source={"paths": ["other.log"]},
        schema={"fields": {"service": "ignore"}},
        log={"format": "json"},
    )
    news, told = asked(path, config)
    assert news == config.model_copy(update={"alerts": config.alerts.model_copy(update={"budget": 0.5})})
    refused = {
        "alerts.reasons",
        "training.window.records",
        "source.paths",
        "schema.fields.service",
        "log.format",
    }
    assert {key for event, key in told[:-1] if event == "config_change_refused"} == refused
    assert told[len(refused) :] == [("config_read", ["alerts.budget"])]


@pytest.mark.parametrize("text", ["streamad: 2", "alerts: [", None])
def test_a_config_that_cannot_be_read_changes_nothing(path, text):
    config = load_config(path)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    assert asked(path, config) == (None, [("config_not_taken", None)])


def test_without_a_change_or_without_being_asked_nothing_happens(path):
    config = load_config(path)
    assert asked(path, config) == (None, [("config_read", [])])
    change(path, alerts={"budget": 0.5})
    reloading = Reloading(lambda: load_config(path))
    assert reloading.news(config) is None
    assert Reloading().news(config) is None


def test_it_is_read_once_for_each_time_that_it_was_asked_for(path):
    config = load_config(path)
    loads = []
    reloading = Reloading(lambda: loads.append(None) or load_config(path))
    reloading.ask()
    reloading.ask()
    assert [reloading.news(config) for _ in range(3)] == [None] * 3
    assert len(loads) == 1


def test_an_engine_made_anew_in_the_process_goes_on_with_what_was_taken(path):
    config = load_config(path)
    change(path, alerts={"budget": 0.5})
    reloading = Reloading(lambda: load_config(path))
    reloading.ask()
    taken = reloading.news(config)
    assert reloading.news(taken) is None
    assert reloading.news(config) is taken


def test_a_scorer_of_a_cluster_leaves_the_budget_to_the_trainer(path):
    config = load_config(path)
    change(path, alerts={"budget": 0.5, "burst": False})
    news, told = asked(path, config, budget=False)
    assert (news.alerts.budget, news.alerts.burst) == (config.alerts.budget, False)
    assert told == [("config_change_refused", "alerts.budget"), ("config_read", ["alerts.burst"])]


def test_no_value_of_the_config_is_logged(path):
    config = load_config(path)
    change(path, source={"password": "hunter2"}, sinks=[{"type": "webhook", "url": "http://hunter2"}])
    with capture_logs() as logs:
        asked(path, config)
    assert "hunter2" not in str(logs)


def test_bursts_by_a_field_that_there_is_not_are_refused(path):
    change(path, alerts={"burst": {"by": ["service", "colour"]}})
    with pytest.raises(ConfigError, match=r"alerts.burst.by: found 'colour'; expected fields of the schema"):
        check_burst(path, load_config(path))
    change(path, alerts={"burst": {"by": ["label"]}})
    with pytest.raises(ConfigError, match="found 'label'"):
        check_burst(path, load_config(path))


def test_a_replay_without_event_times_counts_bursts_in_records(path):
    change(path, alerts={"burst": {"within": "10m"}})
    config = load_config(path)
    check_times(Job("run", path), config)
    with pytest.raises(
        ConfigError, match=r"alerts.burst.within: found '10m' without schema.time; expected a number"
    ):
        check_times(Job("replay", path), config)
