// Put before every file of a release wheel that GCC 12 compiles (scripts/wheels.sh). GCC 12 gave a new version, 3.4.30,
// to this one function, which only became noexcept. The one before is still there, and with it the library also runs
// where the system's libstdc++ is that of GCC 11 (RHEL 9): manylinux_2_34 in place of 2_35.
#pragma once
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
__asm__(
    ".symver _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE,"
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");
#endif
