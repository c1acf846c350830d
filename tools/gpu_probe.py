"""Can the GPU be used here? Asked in a process of its own, so that nobody else starts CUDA: prints JSON.

`{"driver": null, "torch": "why not"}`: null where it can.
"""

import json

from frame_cache_tools.gpu_findings import error_text


def why_no_driver() -> str | None:
    """Why the driver has no GPU for this process; None where it has."""
    try:
        from frame_store.shared import check_cuda_usable_here

        check_cuda_usable_here()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
        return f"{type(error).__name__}: {error}"
    return None


def why_no_torch() -> str | None:
    """Why torch cannot use it; None where it can."""
    try:
        import torch

        if not torch.cuda.is_available():
            return f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU that it can use"
        torch.zeros(1, device="cuda").item()
    except Exception as error:  # noqa: BLE001 - as above
        return error_text(error)
    return None


def main() -> None:
    """Print what is known."""
    driver = why_no_driver()
    print(json.dumps({"driver": driver, "torch": driver or why_no_torch()}))


if __name__ == "__main__":
    main()
