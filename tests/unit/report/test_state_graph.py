"""The graph of the states, from the real definition."""

import re
from dataclasses import replace

import pytest

from batch_predict.report.state_graph import BOX_HEIGHT, BOX_WIDTH, DRAWN_KINDS, state_graph
from support.report_records import BEFORE_CHUNKS, DEFINITION, failed_run, flights_run, states


def graph_of(*visits, is_over=True):
    return state_graph(DEFINITION, states(*visits), is_over=is_over)


def marks(graph):
    return {box.name: box.mark for box in graph.boxes if box.mark != "unvisited"}


def test_every_state_that_does_something_has_its_box():
    drawn = {name for name, state in DEFINITION["States"].items() if state["Type"] in DRAWN_KINDS}
    graph = graph_of()
    assert {box.name for box in graph.boxes} == drawn
    assert len(graph.boxes) == len(drawn)
    assert marks(graph) == {}


def test_boxes_lie_apart_and_inside():
    graph = graph_of()
    places = [(box.x, box.y) for box in graph.boxes]
    for x, y in places:
        assert 0 < x < x + BOX_WIDTH < graph.width
        assert 0 < y < y + BOX_HEIGHT <= graph.height
        assert all(
            abs(x - other_x) > BOX_WIDTH or abs(y - other_y) > BOX_HEIGHT
            for other_x, other_y in places
            if (other_x, other_y) != (x, y)
        )
    assert len(set(places)) == len(places)
    assert graph.width <= 420  # a phone


def test_the_way_of_success_goes_down_on_the_left():
    left = min(box.x for box in graph_of().boxes)
    way = [box.name for box in sorted(graph_of().boxes, key=lambda box: box.y) if box.x == left]
    assert way == ["Validate Request", "Probe Model", "Plan Chunks", "Predict Chunks", "Merge Outputs", "Published"]


def test_a_run_that_succeeded_took_the_way_down():
    graph = state_graph(DEFINITION, flights_run().states, is_over=True)
    assert set(marks(graph).values()) == {"ran"}
    taken = [way.path for way in graph.ways if way.taken]
    assert len(taken) == 5
    assert all(re.fullmatch(r"M\d+ \d+V\d+", path) for path in taken)


def test_a_run_that_failed_shows_where():
    graph = state_graph(DEFINITION, failed_run().states, is_over=True)
    assert {name for name, mark in marks(graph).items() if mark == "failed"} == {"Predict Chunks", "Prediction Failed"}
    assert sum(way.taken for way in graph.ways) == 5


def test_a_state_that_the_execution_is_in_is_running():
    visits = (*BEFORE_CHUNKS, ("Predict Chunks", "Map", None))
    assert marks(graph_of(*visits, is_over=False))["Predict Chunks"] == "running"
    assert marks(graph_of(*visits))["Predict Chunks"] == "ran"


MAP = ("Predict Chunks", "Map", 4.0)
ENDED = (("Merge Outputs", "Task", 1.0), ("Published", "Succeed", 0.0))
STOPPED = replace(states((*MAP, "Interrupted"))[0], is_stopped=True)


@pytest.mark.parametrize(
    ("visits", "failed_chunks", "detail"),
    [
        pytest.param(states(*BEFORE_CHUNKS, MAP, *ENDED), 2, "4.0 s, failed: 2 chunks", id="tolerated"),
        pytest.param(states(*BEFORE_CHUNKS, MAP, MAP), 1, "8.0 s, failed: 1 chunk", id="tried again"),
        pytest.param([*states(*BEFORE_CHUNKS), STOPPED], 0, "4.0 s, stopped", id="stopped"),
    ],
)
def test_a_map_that_lost_chunks_or_was_stopped_looks_failed(visits, failed_chunks, detail):
    graph = state_graph(DEFINITION, visits, is_over=True, failed_chunks=failed_chunks)
    assert [(box.name, box.detail) for box in graph.boxes if box.mark == "failed"] == [("Predict Chunks", detail)]


def test_visits_and_attempts_are_counted():
    visits = (*BEFORE_CHUNKS, *BEFORE_CHUNKS[2:], ("Predict Chunks", "Map", 2.0))
    details = {box.name: box.detail for box in graph_of(*visits).boxes}
    assert details["Plan Chunks"] == "1.5 s, 2 visits, 4 attempts"
    assert details["Predict Chunks"] == "2.0 s"
    assert details["Published"] == ""


def test_a_way_back_is_drawn_where_it_was_taken():
    back = [
        *BEFORE_CHUNKS,
        ("Predict Chunks", "Map", 2.0, "Error"),
        ("Explain Failure", "Task", 1.0),
        ("Merge Outputs", "Task", 1.0),
    ]
    assert len(graph_of(*back).ways) == len(graph_of(*back[:-1]).ways) + 1


@pytest.mark.parametrize("definition", [{}, {"States": {}}, {"StartAt": "A", "States": {}}, {"StartAt": "A"}])
def test_no_definition_is_no_graph(definition):
    assert state_graph(definition, [], is_over=True) is None


def test_a_definition_that_goes_in_circles_ends():
    circle = {"A": {"Type": "Choice", "Default": "B"}, "B": {"Type": "Pass", "Next": "A"}, "C": {"Type": "Task", "Next": "A"}}
    graph = state_graph({"StartAt": "A", "States": circle}, [], is_over=True)
    assert [box.name for box in graph.boxes] == ["C"]
