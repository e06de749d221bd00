# Installs headers, library and CMake package: into the prefix of a native install, or into the Python package of a wheel
# (sparsexmc/{include,lib}), so that find_package(sparsexmc) works from either.
include(CMakePackageConfigHelpers)
if(SKBUILD)
  set(prefix sparsexmc/)
  set(CMAKE_INSTALL_LIBDIR lib)
  set(namelink NAMELINK_SKIP)  # a wheel holds no links: the one file has the name that programs ask for
else()
  include(GNUInstallDirs)
  set(prefix "")
  set_target_properties(sparsexmc PROPERTIES VERSION ${PROJECT_VERSION})
endif()
set_target_properties(sparsexmc PROPERTIES SOVERSION ${PROJECT_VERSION_MAJOR})
install(TARGETS sparsexmc EXPORT sparsexmcTargets LIBRARY DESTINATION ${prefix}${CMAKE_INSTALL_LIBDIR} ${namelink}
  INCLUDES DESTINATION ${prefix}include)
install(DIRECTORY cpp/include/sparsexmc DESTINATION ${prefix}include)
install(EXPORT sparsexmcTargets NAMESPACE sparsexmc:: DESTINATION ${prefix}${CMAKE_INSTALL_LIBDIR}/cmake/sparsexmc)
configure_package_config_file(cmake/sparsexmcConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/sparsexmcConfig.cmake
  INSTALL_DESTINATION ${prefix}${CMAKE_INSTALL_LIBDIR}/cmake/sparsexmc)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/sparsexmcConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/sparsexmcConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/sparsexmcConfigVersion.cmake
  DESTINATION ${prefix}${CMAKE_INSTALL_LIBDIR}/cmake/sparsexmc)
