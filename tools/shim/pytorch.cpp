// pytorch.cpp: TorchScript behind a C interface.
