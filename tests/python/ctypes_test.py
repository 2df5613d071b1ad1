"""Calls the library through its C ABI with nothing but Python's standard library, as a first foreign binding would.

    python3 tests/python/ctypes_test.py PATH/TO/libfusedkernels.so

EXPECTED_ISA in the environment names the instruction set that has to be in use.

Results are compared with plain Python loops in double precision. U is the unit roundoff of float32, and each bound counts
the roundings that the mathematics of the operator allows.
"""

import ctypes
import itertools
import math
import os
import random
import sys
import threading
import unittest

U = 2.0**-24
CPU, FLOAT, INT = 1, 2, 0
OK, INVALID_ARGUMENT, INDEX_OUT_OF_RANGE = 0, 1, 3
REDUCTION_MEAN, REDUCTION_NONE = 0, 2


class DLDevice(ctypes.Structure):
    _fields_ = [("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class DLDataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", DLDevice),
        ("ndim", ctypes.c_int32),
        ("dtype", DLDataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class GemmOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("transpose_a", ctypes.c_int32),
        ("transpose_b", ctypes.c_int32),
        ("alpha", ctypes.c_float),
        ("beta", ctypes.c_float),
    ]


class CutCrossEntropyOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("reduction", ctypes.c_int32),
        ("has_ignore_index", ctypes.c_int32),
        ("schedule", ctypes.c_int32),
        ("ignore_index", ctypes.c_int64),
        ("shift", ctypes.c_int64),
        ("logit_scale", ctypes.c_float),
        ("softcap", ctypes.c_float),
        ("label_smoothing", ctypes.c_float),
        ("z_loss", ctypes.c_float),
        ("loss_shape", ctypes.c_int32),
        ("loss_shape_parameter", ctypes.c_float),
        ("filter_d_embeddings", ctypes.c_float),
        ("filter_d_classifier", ctypes.c_float),
        ("order_vocabulary", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("vocabulary_offset", ctypes.c_int64),
        ("vocabulary_size", ctypes.c_int64),
    ]


class FilterReport(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("d_embeddings_tiles", ctypes.c_int64),
        ("d_embeddings_tiles_skipped", ctypes.c_int64),
        ("d_classifier_tiles", ctypes.c_int64),
        ("d_classifier_tiles_skipped", ctypes.c_int64),
        ("d_embeddings_error", ctypes.c_double),
        ("d_classifier_error", ctypes.c_double),
        ("max_dropped_probability", ctypes.c_double),
    ]


class CutCrossEntropyTensors(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint32), ("reserved", ctypes.c_uint32)] + [
        (name, ctypes.POINTER(FilterReport if name == "filter_report" else DLTensor))
        for name in (
            "embeddings classifier targets target_probabilities bias class_weights row_weights log_sum_exp "
            "target_log_probability entropy loss top_tokens top_log_probabilities accuracy grad_loss grad_log_sum_exp "
            "grad_entropy d_embeddings d_classifier d_bias d_logit_scale filter_report dropped_probability"
        ).split()
    ]


STRUCTS = {
    "DLDevice": DLDevice,
    "DLDataType": DLDataType,
    "DLTensor": DLTensor,
    "fk_gemm_options": GemmOptions,
    "fk_cut_cross_entropy_options": CutCrossEntropyOptions,
    "fk_filter_report": FilterReport,
    "fk_cut_cross_entropy_tensors": CutCrossEntropyTensors,
}


class Array:
    """A row-major array that owns its memory; `pitch` is the distance between rows in elements, when it is not the width."""

    def __init__(self, values, shape, kind=ctypes.c_float, pitch=None):
        self.shape = shape
        self.pitch = pitch or shape[-1]
        rows = math.prod(shape[:-1])
        self.memory = (kind * (rows * self.pitch))()
        for i, value in enumerate(values):
            self.memory[i // shape[-1] * self.pitch + i % shape[-1]] = value
        strides = [1]
        for extent in reversed(shape[1:]):
            strides.insert(0, self.pitch if len(strides) == 1 else strides[0] * extent)
        dimensions = ctypes.c_int64 * len(shape)
        self._shape, self._strides = dimensions(*shape), dimensions(*strides)
        code = FLOAT if kind is ctypes.c_float else INT
        self.tensor = DLTensor(
            ctypes.cast(self.memory, ctypes.c_void_p), DLDevice(CPU, 0), len(shape),
            DLDataType(code, 8 * ctypes.sizeof(kind), 1), self._shape, self._strides, 0)

    @property
    def ref(self):
        return ctypes.byref(self.tensor)

    def __getitem__(self, index):
        """array[row, column] of a matrix, array[i] of a vector."""
        row, column = index if isinstance(index, tuple) else (0, index)
        return self.memory[row * self.pitch + column]


def random_array(shape, generator, pitch=None):
    return Array([generator.uniform(-1, 1) for _ in range(math.prod(shape))], shape, pitch=pitch)


def zeros(*shape):
    return Array([], shape)


class FusedKernelsTest(unittest.TestCase):
    library = None  # set by main
    maxDiff = None

    def setUp(self):
        self.random = random.Random(1)
        self.context = ctypes.c_void_p()
        self.call("fk_context_create", None, ctypes.byref(self.context))
        self.addCleanup(lambda: self.call("fk_context_destroy", self.context))

    def call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        self.assertEqual(status, OK, self.library.fk_last_error().decode())

    def assert_refused(self, status, expected_status, *words):
        text = self.library.fk_last_error().decode()
        self.assertEqual(status, expected_status, text)
        for word in words:
            self.assertIn(word, text)

    def assert_near(self, actual, expected, bound, what):
        self.assertLessEqual(abs(actual - expected), bound, f"{what}: {actual}, expected {expected}")

    def options(self, kind, initialiser, **fields):
        options = kind()
        getattr(self.library, initialiser)(ctypes.byref(options))
        for field, value in fields.items():
            setattr(options, field, value)
        return options

    def tensors(self, **arrays):
        """The struct of a loss's arrays; those that are not named are NULL."""
        pointers = {name: ctypes.pointer(array.tensor) for name, array in arrays.items()}
        return self.options(CutCrossEntropyTensors, "fk_cut_cross_entropy_tensors_init", **pointers)

    # ---- the ABI itself

    def test_structs_have_the_layout_that_the_library_was_built_with(self):
        for name, kind in STRUCTS.items():
            expected = {None: ctypes.sizeof(kind)} | {field: getattr(kind, field).offset for field, _ in kind._fields_}
            actual = {field: self.library.fk_struct_layout(name.encode(), field and field.encode()) for field in expected}
            self.assertEqual(actual, expected, name)
        self.assertEqual(self.library.fk_struct_layout(b"no_such_struct", None), -1)

    def test_version_and_build_are_told(self):
        isa = self.library.fk_cpu_isa().decode()
        self.assertEqual(self.library.fk_abi_version(), 1)
        self.assertIn(isa, self.library.fk_build_info().decode())
        self.assertEqual(isa, os.environ.get("EXPECTED_ISA", isa))

    # ---- GEMM

    def test_gemm_matches_plain_loops_for_all_transposes(self):
        m, n, k, alpha, beta = 5, 19, 33, 0.5, -2.0
        for transpose_a, transpose_b in itertools.product((0, 1), repeat=2):
            a = random_array((k, m) if transpose_a else (m, k), self.random, pitch=40)
            b = random_array((n, k) if transpose_b else (k, n), self.random, pitch=41)
            c = random_array((m, n), self.random, pitch=23)
            before = [c[i, j] for i, j in itertools.product(range(m), range(n))]
            options = self.options(GemmOptions, "fk_gemm_options_init", transpose_a=transpose_a, transpose_b=transpose_b,
                                   alpha=alpha, beta=beta)

            self.call("fk_gemm", self.context, ctypes.byref(options), a.ref, b.ref, c.ref)

            for i, j in itertools.product(range(m), range(n)):
                terms = [(a[p, i] if transpose_a else a[i, p]) * (b[j, p] if transpose_b else b[p, j]) for p in range(k)]
                old = before[i * n + j]
                # k products and sums, then the scaling by alpha, the product with beta and one sum.
                bound = (k + 3) * U * (abs(alpha) * sum(map(abs, terms)) + abs(beta * old))
                self.assert_near(c[i, j], alpha * sum(terms) + beta * old, bound, f"c[{i}, {j}] T{transpose_a}{transpose_b}")

    def test_gemm_with_mismatched_shapes_names_the_argument(self):
        a, b, c = zeros(2, 3), zeros(4, 5), zeros(2, 5)
        status = self.library.fk_gemm(self.context, None, a.ref, b.ref, c.ref)
        self.assert_refused(status, INVALID_ARGUMENT, "b", "4", "3")

    def test_null_arguments_are_refused(self):
        a = zeros(2, 2)
        self.assert_refused(self.library.fk_gemm(self.context, None, a.ref, None, a.ref), INVALID_ARGUMENT, "b")
        self.assert_refused(self.library.fk_gemm(None, None, a.ref, a.ref, a.ref), INVALID_ARGUMENT, "context")

    def test_the_error_text_belongs_to_the_calling_thread(self):
        self.assert_refused(self.library.fk_gemm(None, None, None, None, None), INVALID_ARGUMENT, "context")
        texts = []
        thread = threading.Thread(target=lambda: texts.append(self.library.fk_last_error()))
        thread.start()
        thread.join()
        self.assertEqual(texts, [b""])

    # ---- Cut cross-entropy

    ROWS, VOCABULARY, DEPTH = 9, 37, 11
    TARGETS = [0, 36, 5, -100, 17, 17, 1, -100, 20]

    def make_loss_arguments(self):
        embeddings = random_array((self.ROWS, self.DEPTH), self.random)
        classifier = random_array((self.VOCABULARY, self.DEPTH), self.random)
        targets = Array(self.TARGETS, (self.ROWS,), ctypes.c_int64)
        return embeddings, classifier, targets

    def reference(self, embeddings, classifier):
        """Losses, log-sum-exps and probabilities in double, and a bound of the relative error of a float32 probability."""
        depth = range(self.DEPTH)
        losses, log_sums, probabilities, score_error = [], [], [], 0.0
        for row, target in enumerate(self.TARGETS):
            scores = [sum(embeddings[row, d] * classifier[v, d] for d in depth) for v in range(self.VOCABULARY)]
            log_sum = math.log(sum(map(math.exp, scores)))
            losses.append(0.0 if target < 0 else log_sum - scores[target])
            log_sums.append(log_sum)
            probabilities.append([math.exp(s - log_sum) for s in scores])
            for v in range(self.VOCABULARY):
                magnitude = sum(abs(embeddings[row, d] * classifier[v, d]) for d in depth)
                score_error = max(score_error, self.DEPTH * U * magnitude)
        # A score's error enters the log-sum-exp and the exponent once each. The sum adds one rounding per column; exp, log
        # and the subtraction get 16 together, several times their stated error.
        return losses, log_sums, probabilities, 2 * score_error + (self.VOCABULARY + 16) * U

    def assert_gradients(self, embeddings, classifier, probabilities, row_scale, relative, d_embeddings, d_classifier):
        def d_score(row, column):
            hit = 1.0 if column == self.TARGETS[row] else 0.0
            return row_scale[row] * (probabilities[row][column] - hit), row_scale[row] * (probabilities[row][column] + hit)

        def check(actual, terms, what):
            terms = list(terms)
            expected = sum(gradient * factor for (gradient, _), factor in terms)
            magnitude = sum(abs(largest * factor) for (_, largest), factor in terms)
            self.assert_near(actual, expected, (relative + (len(terms) + 2) * U) * magnitude, what)

        for d in range(self.DEPTH):
            for row in range(self.ROWS):
                terms = ((d_score(row, v), classifier[v, d]) for v in range(self.VOCABULARY))
                check(d_embeddings[row, d], terms, f"d_embeddings[{row}, {d}]")
            for v in range(self.VOCABULARY):
                terms = ((d_score(row, v), embeddings[row, d]) for row in range(self.ROWS))
                check(d_classifier[v, d], terms, f"d_classifier[{v}, {d}]")

    def test_cut_cross_entropy_mean_loss_and_gradient_match_plain_loops(self):
        embeddings, classifier, targets = self.make_loss_arguments()
        loss = zeros(1)
        d_embeddings, d_classifier = zeros(self.ROWS, self.DEPTH), zeros(self.VOCABULARY, self.DEPTH)

        tensors = self.tensors(embeddings=embeddings, classifier=classifier, targets=targets, loss=loss,
                               d_embeddings=d_embeddings, d_classifier=d_classifier)
        self.call("fk_cut_cross_entropy_loss_and_gradient", self.context, None, ctypes.byref(tensors))

        losses, _, probabilities, relative = self.reference(embeddings, classifier)
        counted = sum(target >= 0 for target in self.TARGETS)
        mean = sum(losses) / counted
        self.assert_near(loss[0], mean, relative + (counted + 2) * U * mean, "mean loss")
        scale = [1 / counted if target >= 0 else 0.0 for target in self.TARGETS]
        self.assert_gradients(embeddings, classifier, probabilities, scale, relative, d_embeddings, d_classifier)

    def test_cut_cross_entropy_forward_then_backward_match_plain_loops(self):
        embeddings, classifier, targets = self.make_loss_arguments()
        loss, log_sum_exp = zeros(self.ROWS), zeros(self.ROWS)
        grad_loss = random_array((self.ROWS,), self.random)
        d_embeddings, d_classifier = zeros(self.ROWS, self.DEPTH), zeros(self.VOCABULARY, self.DEPTH)
        options = self.options(CutCrossEntropyOptions, "fk_cut_cross_entropy_options_init", reduction=REDUCTION_NONE)

        forward = self.tensors(embeddings=embeddings, classifier=classifier, targets=targets, loss=loss,
                               log_sum_exp=log_sum_exp)
        backward = self.tensors(embeddings=embeddings, classifier=classifier, targets=targets, log_sum_exp=log_sum_exp,
                                grad_loss=grad_loss, d_embeddings=d_embeddings, d_classifier=d_classifier)
        self.call("fk_cut_cross_entropy_forward", self.context, ctypes.byref(options), ctypes.byref(forward))
        self.call("fk_cut_cross_entropy_backward", self.context, ctypes.byref(options), ctypes.byref(backward))

        losses, log_sums, probabilities, relative = self.reference(embeddings, classifier)
        for row in range(self.ROWS):
            bound = relative + 2 * U * log_sums[row]
            self.assert_near(loss[row], losses[row], bound, f"loss[{row}]")
            if self.TARGETS[row] >= 0:
                self.assert_near(log_sum_exp[row], log_sums[row], bound, f"log_sum_exp[{row}]")
        scale = [grad_loss[row] if self.TARGETS[row] >= 0 else 0.0 for row in range(self.ROWS)]
        self.assert_gradients(embeddings, classifier, probabilities, scale, relative, d_embeddings, d_classifier)

    def test_a_target_outside_the_vocabulary_names_its_row(self):
        embeddings, classifier, targets = self.make_loss_arguments()
        targets.memory[2] = 37
        loss = zeros(1)
        tensors = self.tensors(embeddings=embeddings, classifier=classifier, targets=targets, loss=loss)
        status = self.library.fk_cut_cross_entropy_forward(self.context, None, ctypes.byref(tensors))
        self.assert_refused(status, INDEX_OUT_OF_RANGE, "targets", "2", "37")


def load(path):
    library = ctypes.CDLL(path)
    library.fk_last_error.restype = ctypes.c_char_p
    library.fk_build_info.restype = ctypes.c_char_p
    library.fk_cpu_isa.restype = ctypes.c_char_p
    library.fk_struct_layout.restype = ctypes.c_int64
    library.fk_struct_layout.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    return library


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: ctypes_test.py PATH/TO/libfusedkernels.so [unittest options]")
    FusedKernelsTest.library = load(sys.argv.pop(1))
    unittest.main()
