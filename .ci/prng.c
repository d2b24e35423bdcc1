/* bcryptprimitives.dll for Wine 8, which has none: Rust's standard library
 * takes its random bytes from ProcessPrng, here from advapi32's RtlGenRandom. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
    return SystemFunction036(data, (ULONG)size);
}
