"""The libraries that users would pick instead, timed one call at a time, so that the caller can take its own timings in
between. Reads commands from standard input, one a line, and answers each with one line:

    prepare OPERATION ARGUMENT...   ready LIBRARY VERSION   allocates the inputs and runs the operation once
    time                            SECONDS                 one call
    memory                          MEGABYTES               peak of one call beyond its inputs and its outputs
                                    error TEXT              instead of any of these

usage: peer.py THREADS
"""
import ctypes
import gc
import os
import sys
import time


class Operation:
    """A call without arguments, the library that runs it, and, where the call allocates outputs that outlive it, their
    bytes and what frees them."""

    def __init__(self, library, run, output_bytes=0, free_outputs=lambda: None):
        self.library, self.run, self.output_bytes, self.free_outputs = library, run, output_bytes, free_outputs


def free_gradients(*tensors):
    for tensor in tensors:
        tensor.grad = None


def import_torch(threads):
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return torch, "torch " + torch.__version__.split("+")[0]


def gemm(threads, m, n, k):
    torch, library = import_torch(threads)
    a, b, c = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
    return Operation(library, lambda: torch.mm(a, b, out=c))


def cut_cross_entropy(threads, n, v, d, direction, data):
    torch, library = import_torch(threads)
    embeddings, classifier = torch.randn(n, d), torch.randn(v, d) / d**0.5
    targets = torch.randint(0, v, (n,))
    if data == "peaked":  # a confident model: the target's score stands 12 above the rest
        of_target = classifier[targets]
        embeddings = 0.3 * embeddings + 12 * of_target / of_target.square().sum(1, keepdim=True)

    def loss():
        return torch.nn.functional.cross_entropy(embeddings @ classifier.T, targets)

    def forward():
        with torch.no_grad():
            loss()

    def free_outputs():
        free_gradients(embeddings, classifier)

    def loss_and_gradient():
        free_outputs()  # or backward would add to them
        loss().backward()

    if direction == "forward":
        return Operation(library, forward)
    embeddings.requires_grad_()
    classifier.requires_grad_()
    return Operation(library, loss_and_gradient, 4 * (n + v) * d, free_outputs)


def attention(threads, b, h, s, d, mask, direction):
    torch, library = import_torch(threads)
    q, k, v, gradient = (torch.randn(b, h, s, d) for _ in range(4))

    def output():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=mask == "causal")

    def forward():
        with torch.no_grad():
            output()

    if direction == "forward":
        return Operation(library, forward, 4 * b * h * s * d)
    for x in (q, k, v):
        x.requires_grad_()
    result = output()

    def free_outputs():
        free_gradients(q, k, v)

    def backward():
        free_outputs()
        result.backward(gradient, retain_graph=True)

    return Operation(library, backward, 3 * 4 * b * h * s * d, free_outputs)


OPERATIONS = {"gemm": gemm, "cut_cross_entropy": cut_cross_entropy, "attention": attention}


def prepare(threads, name, *arguments):
    gc.collect()
    operation = OPERATIONS[name](threads, *(int(a) if a.isdigit() else a for a in arguments))
    operation.run()
    return operation


def measure_time(operation):
    start = time.perf_counter()
    operation.run()
    return time.perf_counter() - start


def peak_resident_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def measure_memory(operation):
    """Peak resident size of one call less the size before it: the kernel's high-water mark is reset in between."""
    operation.free_outputs()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")
    before = peak_resident_bytes()
    operation.run()
    return (peak_resident_bytes() - before - operation.output_bytes) / 1e6


def main():
    threads = int(sys.argv[1])
    os.chdir("/")  # the runner may want to unmount the folder that it started us in
    operation = None
    print("started", flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            if command == "prepare":
                operation = None  # frees the inputs of the one before
                operation = prepare(threads, *arguments)
                answer = f"ready {operation.library}"
            elif command == "time":
                answer = measure_time(operation)
            elif command == "memory":
                answer = measure_memory(operation)
            else:
                answer = f"error unknown command {command}"
        except Exception as exception:
            answer = f"error {type(exception).__name__}: {exception}".replace("\n", " ")
        print(answer, flush=True)


if __name__ == "__main__":
    main()
