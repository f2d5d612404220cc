"""What is read again after a restart: enough for the buffer and the reference, and no batch more."""

from __future__ import annotations

import numpy as np

from streamad.runtime.window import Piece, Start, Window


def test_the_window_begins_at_the_youngest_batch_behind_which_everything_needed_lies():
    rng = np.random.default_rng(3)
    window, pieces, first = Window(500, 40), [], 0
    assert window.start() is None
    for _ in range(300):
        records = int(rng.integers(1, 60))
        rows = int(rng.integers(0, records + 1))  # the others were rejected
        piece = Piece(Start(first, {"p": {"line": first}}, "m"), rows, int(rng.binomial(rows, 0.1)))
        pieces.append(piece)
        before = window.copy()
        window.add(piece)
        first += records
        enough = [
            p.start.first
            for n, p in enumerate(pieces)
            if sum(q.rows for q in pieces[n:]) >= 500 and sum(q.compared for q in pieces[n:]) >= 40
        ]
        start = max(enough, default=0)
        assert window.start() == Start(start, {"p": {"line": start}}, "m")
        if len(pieces) > 1:
            assert before.start().first <= start
