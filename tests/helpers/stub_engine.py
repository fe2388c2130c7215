"""A plug-in file with a complete minimal engine, which counts the calls of its methods."""

from __future__ import annotations

from fgbench.measure.engine import Batch, Engine


class Stub(Engine):
    """Runs a network on the CPU as it is."""

    dtypes = ("float32", "bfloat16")

    @classmethod
    def describe(cls, mode):
        return {**super().describe(mode), "version": "1.5", "provider": "stub"}

    def why_not(self, subject):
        return None if subject.kind in ("model", "module") else "it takes images alone"

    def load(self, subject):
        import torch

        network = subject.build("cpu")

        def prepare_batch(batch_size):
            images = subject.inputs(batch_size)

            def run():
                with torch.inference_mode():
                    return network(*images)

            return Batch(run, {"prepared": batch_size})

        return prepare_batch
