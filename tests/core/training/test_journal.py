import io

from core.trainer_protocol import Progress, decode_line
from core.training.checkpoint import Counters
from core.training.journal import Journal
from core.training.plan import Plan
from core.training.recorder import Recorder
from tests.core.training.jobs import VANILLA


def say_progress(counters: Counters) -> Progress:
    out = io.BytesIO()
    plan = Plan(epochs=4, steps_per_epoch=3, batch_size=8)
    journal = Journal(Recorder(out), plan, [VANILLA], val_samples=10, final_samples=10)
    journal.say_progress("training", counters)
    line = decode_line(out.getvalue())
    assert isinstance(line, Progress)
    return line


def test_progress_counts_epochs_along_the_steps() -> None:
    line = say_progress(Counters(step=7))

    assert (line.step, line.total_steps, line.epoch, line.total_epochs) == (7, 12, 3, 4)


def test_progress_of_the_last_evaluation_stands_at_the_end() -> None:
    line = say_progress(Counters(contender=1, steps_before=12))

    assert (line.step, line.total_steps, line.epoch, line.total_epochs) == (12, 12, 4, 4)
