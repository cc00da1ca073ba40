from __future__ import annotations

from pathlib import Path

from hpastore.ingestion.discover import discover
from hpastore.ingestion.layout import CHANNEL_ENDINGS, Layout
from hpastore.vocabulary import CELL_MASK, CHANNELS, NUCLEUS_MASK, ROLES
from tests.world import dataset


def test_a_root_alone_is_the_usual_layout(tmp_path: Path) -> None:
    root = dataset(tmp_path, 2, nuclei=True)
    named = Layout(
        root,
        labels=root / "train.csv",
        images=root / "train",
        masks=root / "hpa_cell_mask",
        nuclei=root / "hpa_nuclei_mask",
        id_column="ID",
        label_column="Label",
    )
    found = discover(Layout(root))
    assert found == discover(named)
    assert [file.role for file in found.sources[0].files] == list(ROLES)
    assert (ROLES[-2:], CHANNEL_ENDINGS[0]) == ((CELL_MASK, NUCLEUS_MASK), f"_{CHANNELS[0]}.png")
