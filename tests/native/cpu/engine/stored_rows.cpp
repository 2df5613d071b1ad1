#include "cpu/engine/stored_rows.h"

#include "cpu/engine/stored_rows-inl.h"

namespace fk::cpu::FK_ISA {

const StoredRowsKernels storedRowsKernels = {storeRow, loadRow};

}  // namespace fk::cpu::FK_ISA
