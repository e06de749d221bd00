# Compiles every CPU kernel once per instruction set, each into a namespace of its own; cpu/dispatch.cpp picks at run time.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  set(SPARSEXMC_CPU_ISAS v2 v3 v4 amx)
  set(SPARSEXMC_CPU_FLAGS_v2 -march=x86-64-v2)
  set(SPARSEXMC_CPU_FLAGS_v3 -march=x86-64-v3)
  set(SPARSEXMC_CPU_FLAGS_v4 -march=x86-64-v4 -mprefer-vector-width=512)
  set(SPARSEXMC_CPU_FLAGS_amx ${SPARSEXMC_CPU_FLAGS_v4} -mavx512bf16 -mamx-tile -mamx-bf16 -mamx-int8)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(SPARSEXMC_CPU_ISAS neon)
  set(SPARSEXMC_CPU_FLAGS_neon "")
else()
  set(SPARSEXMC_CPU_ISAS generic)
  set(SPARSEXMC_CPU_FLAGS_generic "")
endif()

# -fno-math-errno, -fno-trapping-math: let the compiler vectorise selects; rounding is untouched (no -ffast-math).
set(SPARSEXMC_KERNEL_FLAGS -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wall -Wextra)

function(sparsexmc_add_cpu_kernels)
  foreach(isa IN LISTS SPARSEXMC_CPU_ISAS)
    set(library sparsexmc_cpu_${isa})
    add_library(${library} OBJECT ${ARGN} cpp/kernels/cpu/table.cpp)
    target_compile_definitions(${library} PRIVATE SPARSEXMC_ISA=isa_${isa} SPARSEXMC_ISA_${isa})
    target_compile_options(${library} PRIVATE ${SPARSEXMC_KERNEL_FLAGS} ${SPARSEXMC_CPU_FLAGS_${isa}}
      $<$<BOOL:${SPARSEXMC_WARNINGS_AS_ERRORS}>:-Werror>)
    target_include_directories(${library} PRIVATE cpp/include cpp/kernels cpp/src)
  endforeach()
endfunction()
