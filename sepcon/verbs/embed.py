"""`sepcon embed`: a dataset or a folder of recordings becomes embeddings on disk."""

from __future__ import annotations

from pathlib import Path

from sepcon.data.clips import ClipDataset
from sepcon.embeddings.embedders import Model, load_embedder
from sepcon.embeddings.store import EmbeddingStore
from sepcon.embeddings.write import write_embeddings
from sepcon.models.packaged import default_weights, tell_weights
from sepcon.models.products.channel_embedding import Channels
from sepcon.runs import run_folder
from sepcon.runs.claim import claims_run_dir
from sepcon.verbs import resuming

EMBEDDINGS_FOLDER = "embeddings"


@claims_run_dir
def embed(
    *,
    run_dir: str | Path,
    model: Model | None = None,
    clips: ClipDataset,
    batch_size: int = 32,
    shard_size: int = 1024,
    patches: bool = False,
    channels: Channels | None = None,
    config_text: str = "",
) -> EmbeddingStore:
    """Embeds every clip of a dataset into run_dir/embeddings; a killed run goes on where it was.

    Args:
      run_dir: where to write.
      model: a SavedModel, a run folder of `sepcon export` or `sepcon pretrain`, a name of packaged
        weights, which are the default, or an embedder.
      clips: what to embed.
      batch_size: clips of equal length embedded at a time.
      shard_size: clips per file.
      patches: whether to keep an embedding of each patch, not only of each clip.
      channels: a separator that is put in front of an encoder of sepcon.
      config_text: the resolved configuration, saved as config.gin.

    Returns:
      The finished store.

    Raises:
      SepconError: no such model; an embedding is not finite; the folder holds other embeddings or
        cannot be written.
    """
    folder = Path(run_dir) / EMBEDDINGS_FOLDER
    model = default_weights("encoder") if model is None else model
    if isinstance(model, str | Path):
        tell_weights(model)
    if not resuming.begin("embed", Path(run_dir), config_text=config_text):
        return EmbeddingStore(folder)
    embedder = load_embedder(model, channels and channels.without_labels())
    store = write_embeddings(
        folder=folder,
        embedder=embedder,
        clips=clips,
        batch_size=batch_size,
        shard_size=shard_size,
        patches=patches,
        description=f"embed {clips.name}",
        on_start=lambda: resuming.keep_configuration("embed", Path(run_dir), config_text),
    )
    run_folder.finish(Path(run_dir), {"clips": len(store), "embedding_size": store.dim})
    print(f"{folder}: {len(store)} clips of {clips.name}, {store.dim} numbers each.")
    return store
