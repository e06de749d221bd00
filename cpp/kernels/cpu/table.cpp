// The table of this instruction set.
#include "table.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

const KernelTable& table() {
  static const KernelTable functions = {
      step_sizes,
      fan_in_step,
      reduce_parts,
      gather_columns,
      scatter_columns,
      topk_sizes,
      topk,
      topk_merge,
      nearest_rows_scratch,
      nearest_rows,
      hidden_forward,
      hidden_backward_scratch,
      hidden_backward,
      sparse_hidden_forward,
      sparse_hidden_backward,
      init_segment,
      init_hidden,
      rewire_scratch,
      rewire_step,
  };
  return functions;
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA
