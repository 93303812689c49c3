from core.states import TERMINAL, TRANSITIONS, RunStatus


def test_no_way_leads_out_of_a_final_state() -> None:
    assert not [transition for transition in TRANSITIONS if transition[0] in TERMINAL]


def test_every_state_but_queued_is_reached() -> None:
    assert {target for _, _, target in TRANSITIONS} == set(RunStatus)
