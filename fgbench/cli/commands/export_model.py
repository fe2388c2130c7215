"""``fgbench export-model``: a model as the ONNX file that is deployed."""

from __future__ import annotations

from fgbench.cli.checks import check_checkpoint, check_model_options, check_names
from fgbench.cli.errors import complain, problems_told
from fgbench.deploy.request import ExportModelRequest
from fgbench.quantities import size_in_words
from fgbench.results.output import check_output


def export_model(request: ExportModelRequest) -> None:
    """Write a model as an ONNX file with a batch of any size, its labels and its preprocessing in the metadata.

    Its input is ``images`` (B, 3, S, S); its outputs are ``logits``, and ``selected`` or ``boxes`` where it selects.
    The file is compared with torch before it is there. It needs the extra fgbench[onnx].
    """
    selectors, backbones = [[name] if name else None for name in (request.selector, request.backbone)]
    check_names(models=[request.subject], selectors=selectors, backbones=backbones, plugins=request.plugins)
    check_model_options(request.model_options, [request.subject])
    check_checkpoint(request.checkpoint)
    check_output(request.path)
    from fgbench.cli.progress import status_line

    with problems_told(at_once=True) as problems:
        with status_line("loading torch"):
            from fgbench.explain.exported_model import export_to_file

            written = export_to_file(request, problems.append)
        exported = written.exported
        size = f"{size_in_words(exported.file_bytes)}, opset {exported.opset}, outputs {', '.join(exported.outputs)}"
        same = written.agreement
        checked = "not compared: onnxruntime is not installed"
        if same is not None:
            checked = f"logits differ by {same['largest_logit_difference']:.1g} on {same['pictures']} pictures"
        complain(f"wrote {request.path}: {size}, {written.labels or 'no'} labels; {checked}")
