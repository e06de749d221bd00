# Software bill of materials of a wheel: the code of others that is compiled in, as CycloneDX 1.6 under .dist-info/sboms
# (PEP 770). Run-time dependencies are not in it: they are in the wheel's METADATA. Called from python/, which finds nanobind.
set(third_party ${PROJECT_SOURCE_DIR}/third_party)
file(STRINGS ${third_party}/nlohmann/json.hpp lines REGEX "^#define NLOHMANN_JSON_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX MATCHALL "(MAJOR|MINOR|PATCH) [0-9]+" parts "${lines}")
list(TRANSFORM parts REPLACE "[A-Z]+ " "")
list(JOIN parts . json_version)
set(json_tag "@v${json_version}")
file(SHA256 ${third_party}/nlohmann/json.hpp json_hash)

set(SBOM_COMPONENTS [[
    {
      "type": "library", "name": "nlohmann-json", "version": "@json_version@",
      "purl": "pkg:github/nlohmann/json@json_tag@", "licenses": [{"license": {"id": "MIT"}}],
      "hashes": [{"alg": "SHA-256", "content": "@json_hash@"}]
    },
    {
      "type": "library", "name": "nanobind", "version": "@nanobind_VERSION@",
      "purl": "pkg:pypi/nanobind@@nanobind_VERSION@", "licenses": [{"license": {"id": "BSD-3-Clause"}}]
    },
    {
      "type": "library", "name": "robin-map", "description": "as it comes with nanobind",
      "purl": "pkg:github/Tessil/robin-map", "licenses": [{"license": {"id": "MIT"}}]
    }]])
if(SPARSEXMC_HAVE_CUDA AND NOT SPARSEXMC_CUDA STREQUAL SHIM)
  string(APPEND SBOM_COMPONENTS [[,
    {
      "type": "library", "name": "cudart_static", "version": "@CMAKE_CUDA_COMPILER_VERSION@",
      "publisher": "NVIDIA", "licenses": [{"license": {"name": "NVIDIA CUDA Toolkit EULA"}}]
    }]])
endif()
string(CONFIGURE "${SBOM_COMPONENTS}" SBOM_COMPONENTS @ONLY)
configure_file(${PROJECT_SOURCE_DIR}/cmake/sparsexmc.cdx.json.in sparsexmc.cdx.json @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/sparsexmc.cdx.json DESTINATION ${SKBUILD_METADATA_DIR}/sboms)
