"""Makes small models for tests: make_torch.py FOLDER

net.pt2 (ahead-of-time compiled for any x86-64 CPU with AVX2), told.pt2 (the same with a description),
other.pt2 (the same, said to be for a CPU that is not this one), net.pt (TorchScript); x.bin, y0.bin
and y1.bin are an input and what eager gives.
"""
import json
import sys
import zipfile
from pathlib import Path

import torch


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.linear = torch.nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.linear(x)
        return torch.relu(y), torch.softmax(y, -1).transpose(0, 1)


def tensor(name: str, shape: list[int]) -> dict:
    return {"name": name, "type": "float32", "shape": shape}


def copy(source: Path, target: Path, change: dict[str, str], more: dict[str, str]) -> None:
    """The members of source, some by the ends of their names with other texts, and more of them."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            text = next((t for end, t in change.items() if item.filename.endswith(end)), None)
            new.writestr(item.filename, old.read(item) if text is None else text)
        root = old.infolist()[0].filename.split("/")[0]
        for name, text in more.items():
            new.writestr(f"{root}/{name}", text)


def main(folder: Path) -> None:
    net = Net().eval()
    x = (torch.arange(4 * 64, dtype=torch.float32).reshape(4, 64) % 17 - 8) / 8
    torch.set_num_threads(2)
    with torch.no_grad():
        y = net(x)
        torch.jit.trace(net, (x,)).save(str(folder / "net.pt"))
        torch._inductor.aoti_compile_and_package(
            torch.export.export(net, (x,)), package_path=str(folder / "net.pt2"),
            inductor_configs={"freezing": True, "cpp.march": "x86-64-v3", "cpp.simdlen": 256,
                              "aot_inductor.precompile_headers": False})
    for name, value in (("x", x), ("y0", y[0]), ("y1", y[1])):
        (folder / f"{name}.bin").write_bytes(bytes(value.contiguous().view(torch.uint8).flatten()
                                                   .tolist()))
    note = {"schema": 1, "form": "native", "how": "by a test", "torch": torch.__version__,
            "inputs": [tensor("x", [4, 64])],
            "outputs": [tensor("relu", [4, 32]), tensor("softmax", [32, 4])]}
    copy(folder / "net.pt2", folder / "told.pt2", {}, {"extra/wattle.json": json.dumps(note)})
    copy(folder / "net.pt2", folder / "other.pt2",
         {"wrapper_metadata.json": json.dumps({"AOTI_CPU_ISA": "AVX1024"})}, {})


main(Path(sys.argv[1]))
