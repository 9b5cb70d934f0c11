"""Local caches of the hub, as `datasets` and `hf download` leave them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Rows = list[dict[str, Any]]


def prepare(home: Path, hub: str, config: str | None, splits: dict[str, Rows]) -> None:
    """Fill `home/datasets` with the Arrow files that an earlier `load_dataset` left."""
    from datasets.packaged_modules.parquet.parquet import Parquet

    owner, name = hub.split("/")
    config = config or "default"
    # A builder names its folder after its files; a cache of the hub after the dataset.
    builder = Parquet(
        cache_dir=str(home / "build"),
        dataset_name=name,
        config_name=config,
        hash="0123abc",
        data_files={
            split: [str(_table(home / "tables" / hub / config / f"{split}.parquet", rows))]
            for split, rows in splits.items()
        },
    )
    builder.download_and_prepare()
    built = Path(builder.cache_dir)
    target = home / "datasets" / f"{owner}___{name}" / config / "0.0.0" / "0123abc"
    target.parent.mkdir(parents=True, exist_ok=True)
    built.rename(target)


def download(home: Path, hub: str, configs: dict[str, dict[str, Rows]]) -> None:
    """Fill `home/hub` with the files that `hf download --repo-type dataset` fetches."""
    folder = home / "hub" / f"datasets--{hub.replace('/', '--')}"
    snapshot = folder / "snapshots" / "5ad1"
    card = ["---", "configs:"]
    for config, splits in configs.items():
        card += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            _table(snapshot / config / f"{split}-00000-of-00001.parquet", rows)
            card += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (snapshot / "README.md").write_text("\n".join([*card, "---", ""]))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("5ad1")


def _table(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
