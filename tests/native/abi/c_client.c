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

int main(void) {
  saysWhatItIs();
  contextsComeAndGo();
  if (failures == 0) printf("ok\n");
  return failures != 0;
}
