/* bcryptprimitives.dll for Wine 8, which lacks it. Rust's standard library gets random bytes from
 * its function ProcessPrng; this one gets them from advapi32's RtlGenRandom. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
{
    return SystemFunction036(data, (ULONG)size);
}
