"""A small PyTorch network, run eagerly. (For models in files: wattle run FILE -r pytorch:eager.)

    wattle worker --python-helper >wattle_worker.py
    wattle run --worker '/path/to/venv/bin/python pytorch_eager.py' -t 1,2
"""
import torch
import wattle_worker


def load(request):
    global model
    torch.set_num_threads(request["threads"])
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3, stride=2), torch.nn.ReLU(),
                                torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                                torch.nn.Linear(32, 10)).eval()
    batch = request["batch"]
    return {"inputs": [("image", "float32", [batch, 3, 64, 64])],
            "outputs": [("score", "float32", [batch, 10])],
            "runtime": "torch", "version": torch.__version__,
            "settings": {"threads": torch.get_num_threads()}}


@torch.inference_mode()
def infer(inputs):
    return model(inputs[0])


wattle_worker.run(load, infer, prepare=lambda arrays: [torch.tensor(a) for a in arrays])
