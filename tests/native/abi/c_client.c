/* A caller in C11 that knows only the public header and the shared library. */
#include <fusedkernels.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;

#define CHECK(condition)                                                                               \
  do {                                                                                                 \
    if (!(condition)) {                                                                                \
      printf("%s:%d: failed: %s (last error: %s)\n", __FILE__, __LINE__, #condition, fk_last_error()); \
      ++failures;                                                                                      \
    }                                                                                                  \
  } while (0)

static void saysWhatItIs(void) {
  CHECK(fk_abi_version() == FK_ABI_VERSION);
  CHECK(strstr(fk_build_info(), "FusedKernels") != NULL);
  CHECK(fk_cpu_isa() != NULL);
  CHECK(strcmp(fk_status_name(FK_ERROR_BUSY), "FK_ERROR_BUSY") == 0);
  CHECK(fk_struct_layout("DLTensor", NULL) == (int64_t)sizeof(DLTensor));
  CHECK(fk_struct_layout("fk_gemm_options", "beta") == (int64_t)offsetof(fk_gemm_options, beta));
  CHECK(fk_struct_layout("fk_gemm_options", "gamma") == -1);
}

static void contextsComeAndGo(void) {
  fk_context_options options;
  fk_context* context = NULL;
  int32_t threads = 0;
  fk_context_options_init(&options);
  options.threads = 2;
  CHECK(fk_context_create(&options, &context) == FK_OK);
  CHECK(fk_context_threads(context, &threads) == FK_OK && threads == 2);
  CHECK(fk_context_destroy(context) == FK_OK);
  CHECK(fk_context_destroy(NULL) == FK_OK);
}

static void multiplies(void) {
  float a[] = {1, 2, 3, 4, 5, 6}, b[] = {1, 0, 0, 1, 1, 1}, c[4];
  int64_t shapeA[] = {2, 3}, shapeB[] = {3, 2}, shapeC[] = {2, 2};
  const DLDevice cpu = {kDLCPU, 0};
  const DLDataType f32 = {kDLFloat, 32, 1};
  const DLTensor tensorA = {a, cpu, 2, f32, shapeA, NULL, 0}, tensorB = {b, cpu, 2, f32, shapeB, NULL, 0};
  DLTensor tensorC = {c, cpu, 2, f32, shapeC, NULL, 0};
  fk_context* context = NULL;
  CHECK(fk_context_create(NULL, &context) == FK_OK);
  CHECK(fk_gemm(context, NULL, &tensorA, &tensorB, &tensorC) == FK_OK);
  CHECK(c[0] == 4 && c[1] == 5 && c[2] == 10 && c[3] == 11);
  CHECK(fk_gemm(context, NULL, &tensorA, &tensorA, &tensorC) == FK_ERROR_INVALID_ARGUMENT);
  CHECK(strcmp(fk_last_error(), "b: shape [2, 3], needs [3, N] to match a of shape [2, 3]") == 0);
  CHECK(fk_context_destroy(context) == FK_OK);
}

/* "isa": says what FUSEDKERNELS_ISA led to. */
static int printIsa(void) {
  fk_context* context = NULL;
  const char* isa = fk_cpu_isa();
  const fk_status status = fk_context_create(NULL, &context);
  if (isa) {
    printf("isa: %s\n", isa);
  } else {
    printf("error: %s\nno context: %s\n", fk_last_error(), fk_status_name(status));
  }
  return fk_context_destroy(context) != FK_OK;
}

int main(int count, char** arguments) {
  if (count == 2 && strcmp(arguments[1], "isa") == 0) return printIsa();
  saysWhatItIs();
  contextsComeAndGo();
  multiplies();
  if (failures == 0) printf("ok\n");
  return failures != 0;
}
