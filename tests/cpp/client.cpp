// Client of the allocator in C++, which uses the interfaces of the Windows headers.
//
//   client.exe [PATH OF ksallocator_dll.dll]
//
// Prints each check, and in the last line their number. Exits with 1 at the first failure.
#include "common.h"

#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace
{

constexpr REFERENCE_TIME UNTOUCHED = 0x5555555555555555;
constexpr DWORD WAKE_TIMEOUT = 10000; // in ms, longer than any wake-up takes

// Returns an invalid pointer, which the function under test must overwrite or ignore.
template <typename T> T *garbage() { return reinterpret_cast<T *>(0x5a5a5a5a); }

// IKsAllocator as documented: KsSetAllocatorMode returns S_OK or an error. The header declares it
// void. Callers of both must work.
struct IKsAllocatorDocumented : IUnknown
{
    virtual HANDLE STDMETHODCALLTYPE KsGetAllocatorHandle() = 0;
    virtual KSALLOCATORMODE STDMETHODCALLTYPE KsGetAllocatorMode() = 0;
    virtual HRESULT STDMETHODCALLTYPE KsGetAllocatorStatus(KSSTREAMALLOCATOR_STATUS *status) = 0;
    virtual HRESULT STDMETHODCALLTYPE KsSetAllocatorMode(KSALLOCATORMODE mode) = 0;
};

class CountedObject final : public Counted<IUnknown>
{
};

class Notify final : public Counted<IMemAllocatorNotifyCallbackTemp>
{
public:
    HRESULT STDMETHODCALLTYPE NotifyRelease() override
    {
        ++calls;
        if (auto action = std::exchange(on_first_call, nullptr))
            action();
        return E_FAIL; // the allocator ignores the result
    }

    std::atomic<int> calls{0};
    std::function<void()> on_first_call;
};

// An allocator by both of its interface chains.
struct Allocator
{
    explicit Allocator(const Dll &dll)
        : ks(dll.make<IKsAllocatorEx>()), memory(query<IMemAllocatorCallbackTemp>(ks.get()))
    {
    }

    // A committed allocator of `buffers` buffers of `size` bytes.
    Allocator(const Dll &dll, LONG buffers, LONG size) : Allocator(dll)
    {
        EQUAL(set(buffers, size, 1, 0), S_OK);
        EQUAL(memory->Commit(), S_OK);
    }

    HRESULT set(LONG buffers, LONG size, LONG align, LONG prefix)
    {
        ALLOCATOR_PROPERTIES request = {buffers, size, align, prefix};
        return memory->SetProperties(&request, &actual);
    }

    HRESULT get(Com<IMediaSample> &sample, DWORD flags = AM_GBF_NOWAIT) const
    {
        return memory->GetBuffer(sample.out(), nullptr, nullptr, flags);
    }

    LONG free() const
    {
        LONG count = -1;
        memory->GetFreeCount(&count);
        return count;
    }

    Com<IKsAllocatorEx> ks;
    Com<IMemAllocatorCallbackTemp> memory;
    ALLOCATOR_PROPERTIES actual = {};
};

BYTE *pointer_of(IMediaSample *sample)
{
    BYTE *pointer = nullptr;
    sample->GetPointer(&pointer);
    return pointer;
}

bool all_zero(const ALLOCATOR_PROPERTIES &properties)
{
    const ALLOCATOR_PROPERTIES zero = {};
    return std::memcmp(&properties, &zero, sizeof zero) == 0;
}

// --- Exports of the DLL ---

void creates_allocators(const Dll &dll)
{
    topic = "create";
    EQUAL(dll.can_unload_now(), S_OK);
    EQUAL(dll.create(__uuidof(IKsAllocator), nullptr), E_POINTER);

    IUnknown *none = garbage<IUnknown>();
    EQUAL(dll.create(__uuidof(IClassFactory), reinterpret_cast<void **>(&none)), E_NOINTERFACE);
    EQUAL(none, nullptr);
    EQUAL(dll.can_unload_now(), S_OK);

    Com<IKsAllocator> allocator = dll.make<IKsAllocator>();
    EQUAL(references(allocator.get()), 1u);
    EQUAL(dll.can_unload_now(), S_FALSE);
    EQUAL(allocator.detach()->Release(), 0u);
    EQUAL(dll.can_unload_now(), S_OK);
}

void creates_allocators_with_flags(const Dll &dll)
{
    topic = "flags";
    for (DWORD flags : {DWORD(0), KSALLOCATOR_PREFAULT}) {
        Com<IMemAllocator> allocator;
        EQUAL(dll.create_with_flags(__uuidof(IMemAllocator), flags, allocator.void_out()), S_OK);
        ALLOCATOR_PROPERTIES request = {4, 65536, 1, 0}, actual;
        EQUAL(allocator->SetProperties(&request, &actual), S_OK);
        EQUAL(allocator->Commit(), S_OK);
        EQUAL(allocator->Decommit(), S_OK);
    }
    IUnknown *none = garbage<IUnknown>();
    EQUAL(dll.create_with_flags(__uuidof(IUnknown), 2, reinterpret_cast<void **>(&none)), E_INVALIDARG);
    EQUAL(none, nullptr);
    EQUAL(dll.create_with_flags(__uuidof(IUnknown), 0, nullptr), E_POINTER);
}

void creates_allocators_by_the_class_factory(const Dll &dll)
{
    topic = "factory";
    IUnknown *none = garbage<IUnknown>();
    EQUAL(dll.get_class_object(CLSID_MemoryAllocator, __uuidof(IClassFactory), reinterpret_cast<void **>(&none)),
          CLASS_E_CLASSNOTAVAILABLE);
    EQUAL(none, nullptr);
    none = garbage<IUnknown>();
    EQUAL(dll.get_class_object(CLSID_KsAllocator, __uuidof(IKsAllocator), reinterpret_cast<void **>(&none)),
          E_NOINTERFACE);
    EQUAL(none, nullptr);
    EQUAL(dll.get_class_object(CLSID_KsAllocator, __uuidof(IClassFactory), nullptr), E_POINTER);

    Com<IClassFactory> factory;
    EQUAL(dll.get_class_object(CLSID_KsAllocator, __uuidof(IClassFactory), factory.void_out()), S_OK);
    EQUAL(dll.can_unload_now(), S_FALSE);
    EQUAL(query<IUnknown>(factory.get()).get(), factory.get());
    CHECK(query<IKsAllocator>(factory.get()).get() == nullptr);

    topic = "aggregation";
    CountedObject outer;
    none = garbage<IUnknown>();
    EQUAL(factory->CreateInstance(&outer, __uuidof(IUnknown), reinterpret_cast<void **>(&none)),
          CLASS_E_NOAGGREGATION);
    EQUAL(none, nullptr);
    EQUAL(outer.count(), 1u);
    EQUAL(factory->CreateInstance(nullptr, __uuidof(IUnknown), nullptr), E_POINTER);

    topic = "factory";
    Com<IMemAllocator> allocator;
    EQUAL(factory->CreateInstance(nullptr, __uuidof(IMemAllocator), allocator.void_out()), S_OK);
    CHECK(query<IKsAllocatorEx>(allocator.get()).get() != nullptr);
    factory.reset();
    EQUAL(dll.can_unload_now(), S_FALSE);
    allocator.reset();
    EQUAL(dll.can_unload_now(), S_OK);

    EQUAL(dll.get_class_object(CLSID_KsAllocator, __uuidof(IUnknown), factory.void_out()), S_OK);
    EQUAL(factory->LockServer(TRUE), S_OK);
    IClassFactory *locked = factory.get();
    factory.reset();
    EQUAL(dll.can_unload_now(), S_FALSE);
    EQUAL(locked->LockServer(FALSE), S_OK);
    EQUAL(dll.can_unload_now(), S_OK);
}

// COM gets the factory by CoRegisterClassObject here. With an entry in the registry it would call
// DllGetClassObject itself.
void is_created_by_com(const Dll &dll)
{
    topic = "CoCreateInstance";
    Com<IClassFactory> factory;
    EQUAL(dll.get_class_object(CLSID_KsAllocator, __uuidof(IClassFactory), factory.void_out()), S_OK);
    DWORD cookie = 0;
    EQUAL(CoRegisterClassObject(CLSID_KsAllocator, factory.get(), CLSCTX_INPROC_SERVER, REGCLS_MULTIPLEUSE, &cookie),
          S_OK);
    factory.reset();
    Com<IMemAllocator> allocator;
    EQUAL(CoCreateInstance(CLSID_KsAllocator, nullptr, CLSCTX_INPROC_SERVER, __uuidof(IMemAllocator),
                           allocator.void_out()),
          S_OK);
    CHECK(query<IKsAllocatorEx>(allocator.get()).get() != nullptr);
    CountedObject outer;
    IUnknown *none = garbage<IUnknown>();
    EQUAL(CoCreateInstance(CLSID_KsAllocator, &outer, CLSCTX_INPROC_SERVER, __uuidof(IUnknown),
                           reinterpret_cast<void **>(&none)),
          CLASS_E_NOAGGREGATION);
    EQUAL(none, nullptr);
    EQUAL(CoRevokeClassObject(cookie), S_OK);
    EQUAL(dll.can_unload_now(), S_FALSE);
    allocator.reset();
    EQUAL(dll.can_unload_now(), S_OK);
}

// --- Identity ---

void is_one_object(const Dll &dll)
{
    topic = "identity";
    Allocator allocator(dll);
    const IID interfaces[] = {__uuidof(IUnknown), __uuidof(IKsAllocator), __uuidof(IKsAllocatorEx),
                         __uuidof(IMemAllocator), __uuidof(IMemAllocatorCallbackTemp)};
    // From each interface to each other interface, and from there to IUnknown: always the same object.
    Com<IUnknown> identity = query<IUnknown>(allocator.ks.get());
    int found = 0, same = 0;
    for (const IID &from : interfaces) {
        Com<IUnknown> first;
        identity->QueryInterface(from, first.void_out());
        for (const IID &to : interfaces) {
            Com<IUnknown> second;
            found += first->QueryInterface(to, second.void_out()) == S_OK;
            same += query<IUnknown>(second.get()).get() == identity.get();
        }
    }
    EQUAL(found, 25);
    EQUAL(same, 25);
    EQUAL(query<IKsAllocator>(identity.get()).get(), identity.get());
    EQUAL(query<IKsAllocatorEx>(identity.get()).get(), identity.get());
    EQUAL(query<IMemAllocator>(identity.get()).get(), allocator.memory.get());

    for (const IID &foreign : {__uuidof(IMediaSample), __uuidof(IClassFactory), __uuidof(IMarshal)}) {
        IUnknown *none = garbage<IUnknown>();
        EQUAL(identity->QueryInterface(foreign, reinterpret_cast<void **>(&none)), E_NOINTERFACE);
        EQUAL(none, nullptr);
    }
    EQUAL(allocator.memory->QueryInterface(__uuidof(IUnknown), nullptr), E_POINTER);

    topic = "references";
    EQUAL(references(identity.get()), 3u); // ks, memory, identity
    EQUAL(allocator.memory->AddRef(), 4u);
    EQUAL(allocator.ks->AddRef(), 5u);
    EQUAL(allocator.memory->Release(), 4u);
    EQUAL(allocator.ks->Release(), 3u);
    identity.reset();
    EQUAL(references(allocator.memory.get()), 2u);
}

// --- IKsAllocator and IKsAllocatorEx ---

void has_a_mode(const Dll &dll)
{
    topic = "mode";
    Allocator allocator(dll);
    auto *documented = reinterpret_cast<IKsAllocatorDocumented *>(allocator.ks.get());
    EQUAL(allocator.ks->KsGetAllocatorMode(), KsAllocatorMode_User);
    allocator.ks->KsSetAllocatorMode(KsAllocatorMode_Kernel); // by the header's prototype: void
    EQUAL(allocator.ks->KsGetAllocatorMode(), KsAllocatorMode_Kernel);
    EQUAL(documented->KsSetAllocatorMode(KsAllocatorMode_User), S_OK);
    EQUAL(allocator.ks->KsGetAllocatorMode(), KsAllocatorMode_User);
    EQUAL(documented->KsSetAllocatorMode(static_cast<KSALLOCATORMODE>(2)), E_INVALIDARG);
    EQUAL(documented->KsSetAllocatorMode(static_cast<KSALLOCATORMODE>(-1)), E_INVALIDARG);
    EQUAL(allocator.ks->KsGetAllocatorMode(), KsAllocatorMode_User);

    EQUAL(allocator.set(2, 100, 1, 0), S_OK);
    EQUAL(allocator.memory->Commit(), S_OK);
    EQUAL(documented->KsSetAllocatorMode(KsAllocatorMode_User), S_OK);
    EQUAL(documented->KsSetAllocatorMode(KsAllocatorMode_Kernel), VFW_E_ALREADY_COMMITTED);
    allocator.ks->KsSetAllocatorMode(KsAllocatorMode_Kernel);
    EQUAL(allocator.ks->KsGetAllocatorMode(), KsAllocatorMode_User);

    Com<IMediaSample> sample;
    EQUAL(allocator.get(sample), S_OK);
    EQUAL(allocator.memory->Decommit(), S_OK);
    EQUAL(documented->KsSetAllocatorMode(KsAllocatorMode_Kernel), VFW_E_ALREADY_COMMITTED);
    sample.reset();
    EQUAL(documented->KsSetAllocatorMode(KsAllocatorMode_Kernel), S_OK);

    // In Kernel mode the buffers belong to a kernel object with a handle, or Commit fails.
    bool committed = SUCCEEDED(allocator.memory->Commit());
    EQUAL(committed, allocator.ks->KsGetAllocatorHandle() != nullptr);
    EQUAL(allocator.get(sample), committed ? S_OK : VFW_E_NOT_COMMITTED);
}

void reports_its_status(const Dll &dll)
{
    topic = "status";
    Allocator allocator(dll);
    KSSTREAMALLOCATOR_STATUS status;
    std::memset(&status, 0x5a, sizeof status);
    EQUAL(allocator.ks->KsGetAllocatorStatus(nullptr), E_POINTER);
    EQUAL(allocator.ks->KsGetAllocatorStatus(&status), S_OK);
    EQUAL(status.Framing.Frames, 0u);
    EQUAL(status.AllocatedFrames, 0u);

    EQUAL(allocator.set(3, 100, 16, 4), S_OK);
    EQUAL(allocator.memory->Commit(), S_OK);
    Com<IMediaSample> first, second;
    EQUAL(allocator.get(first), S_OK);
    EQUAL(allocator.get(second), S_OK);
    EQUAL(allocator.ks->KsGetAllocatorStatus(&status), S_OK);
    EQUAL(status.Framing.OptionsFlags, ULONG(KSALLOCATOR_OPTIONF_SYSTEM_MEMORY));
    EQUAL(status.Framing.PoolType, 0);
    EQUAL(status.Framing.Frames, 3u);
    EQUAL(status.Framing.FrameSize, 112u); // prefix and buffer
    EQUAL(status.Framing.FileAlignment, 15u); // a mask: the alignment minus 1
    EQUAL(status.Framing.Reserved, 0u);
    EQUAL(status.AllocatedFrames, 2u);
    EQUAL(status.Reserved, 0u);
    EQUAL(allocator.memory->Decommit(), S_OK);
    first.reset();
    EQUAL(allocator.ks->KsGetAllocatorStatus(&status), S_OK);
    EQUAL(status.AllocatedFrames, 1u);
}

void stores_a_handle_and_a_pipe(const Dll &dll)
{
    topic = "handle";
    Allocator allocator(dll);
    EQUAL(allocator.ks->KsGetAllocatorHandle(), nullptr);
    HANDLE large = reinterpret_cast<HANDLE>(static_cast<UINT_PTR>(0xfedcba9876543210));
    allocator.ks->KsSetAllocatorHandle(large);
    EQUAL(allocator.ks->KsGetAllocatorHandle(), large);
    allocator.ks->KsSetAllocatorHandle(nullptr);
    EQUAL(allocator.ks->KsGetAllocatorHandle(), nullptr);
    EQUAL(allocator.ks->KsCreateAllocatorAndGetHandle(nullptr), nullptr);

    topic = "pipe";
    ALLOCATOR_PROPERTIES_EX *stored = allocator.ks->KsGetProperties();
    CHECK(stored != nullptr);
    const ALLOCATOR_PROPERTIES_EX zero = {};
    EQUAL(std::memcmp(stored, &zero, sizeof zero), 0);
    ALLOCATOR_PROPERTIES_EX pipe;
    std::memset(&pipe, 0x5a, sizeof pipe);
    pipe.cBuffers = 7;
    pipe.MemoryType = __uuidof(IKsAllocator); // any GUID will do
    pipe.State = PipeState_Finalized;
    pipe.Output.Weigth = 11;
    pipe.LogicalMemoryType = KS_MemoryTypeUser;
    pipe.AllocatorPlace = Pipe_Allocator_LastPin;
    pipe.PrevSegment = garbage<IKsAllocatorEx>(); // borrowed, and never followed
    pipe.NextSegments = garbage<IKsAllocatorEx *>();
    pipe.NumberPins = 13;
    allocator.ks->KsSetProperties(&pipe);
    EQUAL(allocator.ks->KsGetProperties(), stored);
    EQUAL(stored->cBuffers, 7);
    CHECK(stored->MemoryType == pipe.MemoryType);
    EQUAL(stored->State, PipeState_Finalized);
    EQUAL(stored->Output.Weigth, 11u);
    EQUAL(stored->LogicalMemoryType, KS_MemoryTypeUser);
    EQUAL(stored->AllocatorPlace, Pipe_Allocator_LastPin);
    EQUAL(stored->PrevSegment, pipe.PrevSegment);
    EQUAL(stored->CountNextSegments, 0x5a5a5a5au);
    EQUAL(stored->NextSegments, pipe.NextSegments);
    EQUAL(stored->InsideFactors, 0x5a5a5a5au);
    EQUAL(stored->NumberPins, 13u);
    allocator.ks->KsSetProperties(stored); // to itself
    allocator.ks->KsSetProperties(nullptr);
    EQUAL(stored->NumberPins, 13u);

    ALLOCATOR_PROPERTIES properties;
    EQUAL(allocator.memory->GetProperties(&properties), S_OK);
    CHECK(all_zero(properties)); // the properties of the pool are independent
}

// --- IMemAllocator ---

void rounds_properties(const Dll &dll)
{
    topic = "properties";
    Allocator allocator(dll);
    ALLOCATOR_PROPERTIES properties;
    std::memset(&properties, 0x5a, sizeof properties);
    EQUAL(allocator.memory->GetProperties(&properties), S_OK);
    CHECK(all_zero(properties));
    EQUAL(allocator.memory->GetProperties(nullptr), E_POINTER);
    EQUAL(allocator.memory->Commit(), VFW_E_SIZENOTSET);

    // Prefix and buffer together become a multiple of the alignment.
    const struct
    {
        LONG size, align, prefix, actual;
    } rows[] = {
        {100, 1, 0, 100}, {100, 16, 3, 109},  {1, 16, 1, 15},     {0, 16, 1, 15},    {16, 16, 0, 16},
        {17, 16, 0, 32},  {100, 12, 0, 108},  {100, 3, 1, 101},   {7, 10, 0, 10},    {100, 4096, 3, 4093},
        {1, 65536, 0, 65536},
    };
    for (const auto &row : rows) {
        EQUAL(allocator.set(4, row.size, row.align, row.prefix), S_OK);
        EQUAL(allocator.actual.cBuffers, 4);
        EQUAL(allocator.actual.cbBuffer, row.actual);
        EQUAL(allocator.actual.cbAlign, row.align);
        EQUAL(allocator.actual.cbPrefix, row.prefix);
    }
    EQUAL(allocator.memory->GetProperties(&properties), S_OK);
    EQUAL(std::memcmp(&properties, &allocator.actual, sizeof properties), 0);

    // A refused request changes nothing, and the actual properties are all zero.
    for (LONG bad : {0, -1, -65536, 65537, 131073}) {
        std::memset(&allocator.actual, 0x5a, sizeof allocator.actual);
        EQUAL(allocator.set(2, 100, bad, 0), VFW_E_BADALIGN);
        CHECK(all_zero(allocator.actual));
    }
    ALLOCATOR_PROPERTIES request = {2, 100, 16, 3};
    EQUAL(allocator.memory->SetProperties(&request, nullptr), E_POINTER);
    EQUAL(allocator.memory->SetProperties(nullptr, &allocator.actual), E_POINTER);
    ALLOCATOR_PROPERTIES after;
    EQUAL(allocator.memory->GetProperties(&after), S_OK);
    EQUAL(std::memcmp(&after, &properties, sizeof after), 0);

    // Some filters pass the same structure for both.
    EQUAL(allocator.memory->SetProperties(&request, &request), S_OK);
    EQUAL(request.cBuffers, 2);
    EQUAL(request.cbBuffer, 109);

    // Sizes are checked by Commit.
    EQUAL(allocator.set(0, 100, 1, 0), S_OK);
    EQUAL(allocator.memory->Commit(), VFW_E_SIZENOTSET);
    EQUAL(allocator.set(-1, 100, 1, 0), S_OK);
    EQUAL(allocator.memory->Commit(), VFW_E_SIZENOTSET);
    EQUAL(allocator.set(1, 0, 1, 0), S_OK);
    EQUAL(allocator.memory->Commit(), VFW_E_SIZENOTSET);
    EQUAL(allocator.set(0x7fffffff, 0x7fffffff, 1, 0), S_OK);
    EQUAL(allocator.memory->Commit(), E_OUTOFMEMORY);
    EQUAL(allocator.set(0x7fffffff, 1, 1, 0), S_OK);
    EQUAL(allocator.memory->Commit(), E_OUTOFMEMORY);
    EQUAL(allocator.set(1, 1, 1, -1), S_OK);
    CHECK(FAILED(allocator.memory->Commit()));

    topic = "states";
    EQUAL(allocator.memory->Decommit(), S_OK);
    EQUAL(allocator.set(2, 100, 1, 0), S_OK);
    EQUAL(allocator.memory->Commit(), S_OK);
    EQUAL(allocator.memory->Commit(), S_OK);
    EQUAL(allocator.set(2, 100, 0, 0), VFW_E_BADALIGN); // the alignment is checked first
    EQUAL(allocator.set(2, 100, 1, 0), VFW_E_ALREADY_COMMITTED);
    CHECK(all_zero(allocator.actual));
    Com<IMediaSample> sample, other;
    EQUAL(allocator.get(sample), S_OK);
    EQUAL(allocator.memory->Decommit(), S_OK);
    EQUAL(allocator.set(2, 100, 1, 0), VFW_E_BUFFERS_OUTSTANDING);
    *other.out() = nullptr;
    EQUAL(allocator.get(other), VFW_E_NOT_COMMITTED);
    EQUAL(allocator.memory->Commit(), S_OK); // cancels the decommit
    EQUAL(allocator.get(other), S_OK);
    EQUAL(allocator.free(), 0);
    EQUAL(allocator.memory->Decommit(), S_OK);
    sample.reset();
    other.reset();
    EQUAL(allocator.set(3, 100, 1, 0), S_OK);
    EQUAL(allocator.free(), 3);
}

void lays_buffers_out(const Dll &dll)
{
    topic = "layout";
    const struct
    {
        LONG size, align, prefix;
    } rows[] = {{1000, 16, 3}, {1000, 12, 0}, {5, 4096, 8}, {1, 65536, 0}, {7, 1, 0}};
    for (const auto &row : rows) {
        Allocator allocator(dll);
        constexpr int COUNT = 5;
        EQUAL(allocator.set(COUNT, row.size, row.align, row.prefix), S_OK);
        EQUAL(allocator.memory->Commit(), S_OK);
        const LONG size = allocator.actual.cbBuffer;
        Com<IMediaSample> samples[COUNT];
        int aligned = 0, sized = 0, intact = 0;
        for (int i = 0; i < COUNT; ++i) {
            EQUAL(allocator.get(samples[i], 0), S_OK);
            BYTE *data = pointer_of(samples[i].get());
            aligned += reinterpret_cast<UINT_PTR>(data - row.prefix) % static_cast<UINT_PTR>(row.align) == 0;
            sized += samples[i]->GetSize() == size;
            std::memset(data - row.prefix, i, static_cast<size_t>(row.prefix + size));
        }
        for (int i = 0; i < COUNT; ++i) {
            BYTE *data = pointer_of(samples[i].get());
            bool all = true;
            for (LONG at = -row.prefix; at < size; ++at)
                all = all && data[at] == i;
            intact += all;
        }
        EQUAL(aligned, COUNT);
        EQUAL(sized, COUNT);
        EQUAL(intact, COUNT);
    }
}

void refuses_and_waits(const Dll &dll)
{
    topic = "GetBuffer";
    Allocator allocator(dll);
    IMediaSample *none = garbage<IMediaSample>();
    EQUAL(allocator.memory->GetBuffer(&none, nullptr, nullptr, 0), VFW_E_NOT_COMMITTED);
    EQUAL(none, nullptr);
    EQUAL(allocator.memory->GetBuffer(nullptr, nullptr, nullptr, 0), E_POINTER);
    EQUAL(allocator.set(1, 64, 1, 0), S_OK);
    EQUAL(allocator.memory->Commit(), S_OK);
    EQUAL(allocator.memory->GetBuffer(nullptr, nullptr, nullptr, 0), E_POINTER);
    EQUAL(allocator.free(), 1);

    Com<IMediaSample> sample;
    REFERENCE_TIME start = 1, end = 2; // hints, which are not set on the sample
    EQUAL(allocator.memory->GetBuffer(sample.out(), &start, &end, 0xfffffffb), S_OK);
    EQUAL(sample->GetTime(&start, &end), VFW_E_SAMPLE_TIME_NOT_SET);
    none = garbage<IMediaSample>();
    EQUAL(allocator.memory->GetBuffer(&none, nullptr, nullptr, AM_GBF_NOWAIT), VFW_E_TIMEOUT);
    EQUAL(none, nullptr);

    // A release wakes one waiter.
    HRESULT result = E_FAIL;
    {
        Thread waiter([&] {
            Com<IMediaSample> received;
            result = allocator.get(received, 0);
        });
        CHECK(!waiter.ended_within(100));
        sample.reset();
        CHECK(waiter.ended_within(WAKE_TIMEOUT));
    }
    EQUAL(result, S_OK);
    EQUAL(allocator.free(), 1);
}

// Blocks `count` threads in GetBuffer for the only buffer of an allocator, runs `action`, and checks
// that it wakes all of them. A slow thread may block only after `action`: then the test is repeated
// with a longer pause.
template <typename Action>
void wakes_all(const Dll &dll, int count, HRESULT expected, Action action)
{
    bool woken = false;
    std::vector<HRESULT> results;
    for (DWORD pause = 100; !woken && pause <= 10000; pause *= 10) {
        Allocator allocator(dll, 1, 64);
        Com<IMediaSample> sample;
        EQUAL(allocator.get(sample), S_OK);
        results.assign(static_cast<size_t>(count), E_FAIL);
        std::vector<std::unique_ptr<Thread>> waiters;
        for (HRESULT &result : results)
            waiters.emplace_back(new Thread([&allocator, &result] {
                Com<IMediaSample> received;
                result = allocator.get(received, 0);
            }));
        Sleep(pause);
        int blocked = 0;
        for (const auto &waiter : waiters)
            blocked += !waiter->ended_within(0);
        EQUAL(blocked, count);
        action(allocator);
        woken = true;
        for (const auto &waiter : waiters)
            woken = woken && waiter->ended_within(2000);
        allocator.memory->Decommit(); // wakes threads that blocked after `action`
    }
    CHECK(woken);
    for (HRESULT result : results)
        EQUAL(result, expected);
}

void decommit_wakes_all_waiters(const Dll &dll)
{
    topic = "Decommit";
    wakes_all(dll, 3, VFW_E_NOT_COMMITTED, [](Allocator &allocator) {
        EQUAL(allocator.memory->Decommit(), S_OK);
    });
    topic = "Decommit and Commit";
    wakes_all(dll, 3, VFW_E_NOT_COMMITTED, [](Allocator &allocator) {
        EQUAL(allocator.memory->Decommit(), S_OK);
        EQUAL(allocator.memory->Commit(), S_OK);
    });
}

void refuses_release_buffer(const Dll &dll)
{
    topic = "ReleaseBuffer";
    Allocator allocator(dll, 2, 64), other(dll, 2, 64);
    Com<IMediaSample> own, others, foreign;
    EQUAL(allocator.get(own), S_OK);
    EQUAL(other.get(others), S_OK);
    EQUAL(allocator.memory->ReleaseBuffer(nullptr), E_POINTER);
    EQUAL(allocator.memory->ReleaseBuffer(others.get()), E_INVALIDARG);
    EQUAL(allocator.memory->ReleaseBuffer(own.get()), E_UNEXPECTED); // a client holds it
    EQUAL(allocator.free(), 1);
    EQUAL(other.free(), 1);
    EQUAL(references(own.get()), 1u);

    // A sample of the system's allocator.
    Com<IMemAllocator> system;
    EQUAL(CoCreateInstance(CLSID_MemoryAllocator, nullptr, CLSCTX_INPROC_SERVER, __uuidof(IMemAllocator),
                           system.void_out()),
          S_OK);
    ALLOCATOR_PROPERTIES request = {1, 64, 1, 0}, actual;
    EQUAL(system->SetProperties(&request, &actual), S_OK);
    EQUAL(system->Commit(), S_OK);
    EQUAL(system->GetBuffer(foreign.out(), nullptr, nullptr, 0), S_OK);
    EQUAL(allocator.memory->ReleaseBuffer(foreign.get()), E_INVALIDARG);
    foreign.reset();
    EQUAL(system->Decommit(), S_OK);
}

// --- IMemAllocatorCallbackTemp ---

void notifies_of_releases(const Dll &dll)
{
    topic = "NotifyRelease";
    Allocator allocator(dll, 3, 64);
    Notify notify;
    LONG free_in_callback = -1;
    HRESULT result = E_FAIL;
    notify.on_first_call = [&] {
        // The buffer is free already, and no lock is held.
        Com<IMediaSample> sample;
        free_in_callback = allocator.free();
        result = allocator.get(sample);
    };
    EQUAL(allocator.memory->SetNotify(&notify), S_OK);
    EQUAL(notify.count(), 2u);
    EQUAL(allocator.memory->SetNotify(&notify), S_OK); // the same callback again
    EQUAL(notify.count(), 2u);

    Com<IMediaSample> first, second;
    EQUAL(allocator.get(first), S_OK);
    EQUAL(allocator.get(second), S_OK);
    EQUAL(first->AddRef(), 2u);
    EQUAL(first->Release(), 1u);
    EQUAL(notify.calls.load(), 0);
    EQUAL(first.detach()->Release(), 0u);
    EQUAL(notify.calls.load(), 2); // one more for the sample that the callback released
    EQUAL(free_in_callback, 2);
    EQUAL(result, S_OK);
    EQUAL(allocator.memory->Decommit(), S_OK);
    EQUAL(notify.calls.load(), 2);
    second.reset();
    EQUAL(notify.calls.load(), 3); // the release that completes the decommit notifies too
    EQUAL(notify.count(), 2u);

    Notify later;
    EQUAL(allocator.memory->SetNotify(&later), S_OK);
    EQUAL(notify.count(), 1u);
    EQUAL(later.count(), 2u);
    EQUAL(allocator.memory->SetNotify(nullptr), S_OK);
    EQUAL(later.count(), 1u);

    // The callback can remove itself. The allocator releases its callback when it is destroyed.
    EQUAL(allocator.memory->Commit(), S_OK);
    EQUAL(allocator.get(first), S_OK);
    notify.on_first_call = [&] { result = allocator.memory->SetNotify(nullptr); };
    EQUAL(allocator.memory->SetNotify(&notify), S_OK);
    first.reset();
    EQUAL(notify.calls.load(), 4);
    EQUAL(notify.count(), 1u);
    {
        Allocator brief(dll);
        EQUAL(brief.memory->SetNotify(&later), S_OK);
    }
    EQUAL(later.count(), 1u);

    topic = "GetFreeCount";
    Allocator counted(dll);
    EQUAL(counted.memory->GetFreeCount(nullptr), E_POINTER);
    EQUAL(counted.free(), 0);
    EQUAL(counted.set(3, 64, 1, 0), S_OK);
    EQUAL(counted.free(), 3);
    EQUAL(counted.memory->Commit(), S_OK);
    EQUAL(counted.free(), 3);
    EQUAL(counted.get(first), S_OK);
    EQUAL(counted.get(second), S_OK);
    EQUAL(counted.free(), 1);
    EQUAL(counted.memory->Decommit(), S_OK);
    EQUAL(counted.free(), 1);
    first.reset();
    EQUAL(counted.free(), 2);
    second.reset();
    EQUAL(counted.free(), 3);
}

// --- IMediaSample ---

void provides_samples(const Dll &dll)
{
    topic = "sample";
    Allocator allocator(dll, 1, 200);
    Com<IMediaSample> sample;
    EQUAL(allocator.get(sample), S_OK);
    EQUAL(query<IUnknown>(sample.get()).get(), sample.get());
    EQUAL(query<IMediaSample>(sample.get()).get(), sample.get());
    EQUAL(query<IMediaSample2>(sample.get()).get(), sample.get());
    IUnknown *none = garbage<IUnknown>();
    EQUAL(sample->QueryInterface(__uuidof(IKsAllocator), reinterpret_cast<void **>(&none)), E_NOINTERFACE);
    EQUAL(none, nullptr);
    EQUAL(sample->QueryInterface(__uuidof(IUnknown), nullptr), E_POINTER);
    EQUAL(references(sample.get()), 1u);

    EQUAL(sample->GetPointer(nullptr), E_POINTER);
    EQUAL(sample->GetSize(), 200);
    EQUAL(sample->GetActualDataLength(), 200);
    EQUAL(sample->SetActualDataLength(201), VFW_E_BUFFER_OVERFLOW);
    EQUAL(sample->SetActualDataLength(-1), VFW_E_BUFFER_OVERFLOW);
    EQUAL(sample->GetActualDataLength(), 200);
    EQUAL(sample->SetActualDataLength(0), S_OK);
    EQUAL(sample->GetActualDataLength(), 0);
    EQUAL(sample->SetActualDataLength(123), S_OK);

    topic = "times";
    REFERENCE_TIME start = UNTOUCHED, end = UNTOUCHED;
    EQUAL(sample->GetTime(&start, &end), VFW_E_SAMPLE_TIME_NOT_SET);
    EQUAL(sample->GetMediaTime(&start, &end), VFW_E_MEDIA_TIME_NOT_SET);
    EQUAL(start, UNTOUCHED);
    EQUAL(end, UNTOUCHED);
    REFERENCE_TIME ten = 10, five = 5, far_away = 0x100000005;
    EQUAL(sample->SetTime(&ten, nullptr), S_OK);
    EQUAL(sample->GetTime(&start, &end), VFW_S_NO_STOP_TIME);
    EQUAL(start, 10);
    EQUAL(end, 11);
    EQUAL(sample->SetTime(&ten, &five), S_OK); // an end before the start is stored as it is
    EQUAL(sample->GetTime(&start, &end), S_OK);
    EQUAL(start, 10);
    EQUAL(end, 5);
    EQUAL(sample->GetMediaTime(&start, &end), VFW_E_MEDIA_TIME_NOT_SET);
    EQUAL(sample->SetTime(nullptr, &five), S_OK);
    EQUAL(sample->GetTime(&start, &end), VFW_E_SAMPLE_TIME_NOT_SET);
    EQUAL(sample->SetMediaTime(&ten, nullptr), E_POINTER);
    EQUAL(sample->SetMediaTime(&five, &far_away), S_OK);
    EQUAL(sample->GetMediaTime(&start, &end), S_OK);
    EQUAL(start, 5);
    EQUAL(end, far_away);
    EQUAL(sample->GetTime(&start, &end), VFW_E_SAMPLE_TIME_NOT_SET);
    EQUAL(sample->SetTime(&five, &ten), S_OK);

    topic = "flags";
    EQUAL(sample->IsSyncPoint(), S_FALSE);
    EQUAL(sample->IsPreroll(), S_FALSE);
    EQUAL(sample->IsDiscontinuity(), S_FALSE);
    EQUAL(sample->SetSyncPoint(5), S_OK); // any BOOL except 0 is true
    EQUAL(sample->IsSyncPoint(), S_OK);
    EQUAL(sample->IsPreroll(), S_FALSE);
    EQUAL(sample->SetPreroll(TRUE), S_OK);
    EQUAL(sample->IsPreroll(), S_OK);
    EQUAL(sample->IsDiscontinuity(), S_FALSE);
    EQUAL(sample->SetDiscontinuity(-1), S_OK);
    EQUAL(sample->IsDiscontinuity(), S_OK);
    EQUAL(sample->SetSyncPoint(FALSE), S_OK);
    EQUAL(sample->IsSyncPoint(), S_FALSE);

    // All of it is reset for the next client, except the length.
    topic = "recycling";
    IMediaSample *before = sample.get();
    EQUAL(sample.detach()->Release(), 0u);
    EQUAL(allocator.get(sample), S_OK);
    EQUAL(sample.get(), before);
    EQUAL(references(sample.get()), 1u);
    EQUAL(sample->GetTime(&start, &end), VFW_E_SAMPLE_TIME_NOT_SET);
    EQUAL(sample->GetMediaTime(&start, &end), VFW_E_MEDIA_TIME_NOT_SET);
    EQUAL(sample->IsPreroll(), S_FALSE);
    EQUAL(sample->IsDiscontinuity(), S_FALSE);
    EQUAL(sample->GetActualDataLength(), 123);
}

// Returns a media type with a format block and an object, both borrowed.
AM_MEDIA_TYPE video(VIDEOINFOHEADER &format, IUnknown *object)
{
    format = {};
    format.bmiHeader.biSize = sizeof format.bmiHeader;
    format.bmiHeader.biWidth = 640;
    AM_MEDIA_TYPE type = {};
    type.majortype = MEDIATYPE_Video;
    type.subtype = MEDIASUBTYPE_RGB24;
    type.bFixedSizeSamples = TRUE;
    type.lSampleSize = 640 * 480 * 3;
    type.formattype = FORMAT_VideoInfo;
    type.pUnk = object;
    type.cbFormat = sizeof format;
    type.pbFormat = reinterpret_cast<BYTE *>(&format);
    return type;
}

void free_media_type(AM_MEDIA_TYPE *type)
{
    if (type->pUnk)
        type->pUnk->Release();
    CoTaskMemFree(type->pbFormat);
    CoTaskMemFree(type);
}

void carries_media_types(const Dll &dll)
{
    topic = "media type";
    Allocator allocator(dll, 1, 200);
    Com<IMediaSample> sample;
    EQUAL(allocator.get(sample), S_OK);
    AM_MEDIA_TYPE *copy = garbage<AM_MEDIA_TYPE>();
    EQUAL(sample->GetMediaType(&copy), S_FALSE);
    EQUAL(copy, nullptr);
    EQUAL(sample->GetMediaType(nullptr), E_POINTER);

    CountedObject object;
    VIDEOINFOHEADER format;
    AM_MEDIA_TYPE type = video(format, &object);
    EQUAL(sample->SetMediaType(&type), S_OK);
    EQUAL(object.count(), 2u);
    format.bmiHeader.biWidth = 1; // the sample has a copy
    EQUAL(sample->GetMediaType(&copy), S_OK);
    EQUAL(object.count(), 3u);
    CHECK(copy->majortype == MEDIATYPE_Video && copy->subtype == MEDIASUBTYPE_RGB24);
    CHECK(copy->formattype == FORMAT_VideoInfo);
    EQUAL(copy->lSampleSize, 640u * 480 * 3);
    EQUAL(copy->bFixedSizeSamples, TRUE);
    EQUAL(copy->pUnk, static_cast<IUnknown *>(&object));
    EQUAL(copy->cbFormat, sizeof format);
    CHECK(copy->pbFormat != type.pbFormat);
    EQUAL(reinterpret_cast<VIDEOINFOHEADER *>(copy->pbFormat)->bmiHeader.biWidth, 640);
    EQUAL(sample->SetMediaType(copy), S_OK); // replaces the type; `copy` still belongs to the test
    EQUAL(object.count(), 3u);
    free_media_type(copy);
    EQUAL(object.count(), 2u);
    EQUAL(sample->SetMediaType(nullptr), S_OK);
    EQUAL(object.count(), 1u);
    EQUAL(sample->GetMediaType(&copy), S_FALSE);

    type.cbFormat = 0; // no format block
    type.pbFormat = nullptr;
    EQUAL(sample->SetMediaType(&type), S_OK);
    EQUAL(sample->GetMediaType(&copy), S_OK);
    EQUAL(copy->cbFormat, 0u);
    EQUAL(copy->pbFormat, nullptr);
    free_media_type(copy);
    EQUAL(object.count(), 2u);
    sample.reset(); // frees the media type of the sample
    EQUAL(object.count(), 1u);
}

// --- IMediaSample2 ---

// Calls SetProperties with the fields up to and including `field`.
#define SET_UP_TO(field)                                                                                     \
    sample->SetProperties(offsetof(AM_SAMPLE2_PROPERTIES, field) + sizeof properties.field,                  \
                          reinterpret_cast<BYTE *>(&properties))

void reads_and_writes_properties(const Dll &dll)
{
    topic = "GetProperties";
    Allocator allocator(dll, 1, 200);
    Com<IMediaSample> first;
    EQUAL(allocator.get(first), S_OK);
    Com<IMediaSample2> sample = query<IMediaSample2>(first.get());
    AM_SAMPLE2_PROPERTIES properties;
    BYTE *bytes = reinterpret_cast<BYTE *>(&properties);
    const DWORD size = sizeof properties;
    REFERENCE_TIME start = 7, end = 9;
    EQUAL(sample->SetTime(&start, &end), S_OK);
    EQUAL(sample->SetMediaTime(&start, &end), S_OK);
    EQUAL(sample->SetSyncPoint(TRUE), S_OK);

    EQUAL(sample->GetProperties(0, nullptr), S_OK);
    EQUAL(sample->GetProperties(4, nullptr), E_POINTER);
    std::memset(&properties, 0x5a, sizeof properties);
    EQUAL(sample->GetProperties(8, bytes), S_OK);
    EQUAL(properties.cbData, 8u);
    EQUAL(properties.dwTypeSpecificFlags, 0u);
    EQUAL(properties.dwSampleFlags, 0x5a5a5a5au);
    EQUAL(sample->GetProperties(size, bytes), S_OK);
    EQUAL(properties.cbData, size);
    EQUAL(properties.dwSampleFlags, DWORD(AM_SAMPLE_SPLICEPOINT | AM_SAMPLE_TIMEVALID | AM_SAMPLE_STOPVALID));
    EQUAL(properties.lActual, 200);
    EQUAL(properties.tStart, 7);
    EQUAL(properties.tStop, 9);
    EQUAL(properties.dwStreamId, DWORD(AM_STREAM_MEDIA));
    EQUAL(properties.pMediaType, nullptr);
    EQUAL(properties.pbBuffer, pointer_of(sample.get()));
    EQUAL(properties.cbBuffer, 200);

    topic = "SetProperties";
    EQUAL(sample->SetProperties(0, nullptr), S_OK);
    EQUAL(sample->SetProperties(size, nullptr), E_POINTER);
    properties.cbData = size + 1;
    EQUAL(sample->SetProperties(size, bytes), E_INVALIDARG);
    properties.cbData = size;
    EQUAL(sample->SetProperties(size, bytes), S_OK); // the result of its own GetProperties
    properties.dwSampleFlags = AM_SAMPLE_PREROLL | AM_SAMPLE_ENDOFSTREAM;
    properties.lActual = 50;
    properties.tStart = 1000;
    properties.dwStreamId = AM_STREAM_CONTROL;
    EQUAL(SET_UP_TO(dwSampleFlags), S_OK);
    EQUAL(sample->IsPreroll(), S_OK);
    EQUAL(sample->IsSyncPoint(), S_FALSE);
    EQUAL(sample->GetActualDataLength(), 200);
    EQUAL(sample->GetTime(&start, &end), VFW_E_SAMPLE_TIME_NOT_SET);
    EQUAL(sample->GetMediaTime(&start, &end), S_OK); // no flag clears the media time
    EQUAL(SET_UP_TO(lActual), S_OK);
    EQUAL(sample->GetActualDataLength(), 50);

    // Refused calls change nothing.
    auto refused = [&](HRESULT result, HRESULT expected) {
        EQUAL(result, expected);
        EQUAL(sample->GetActualDataLength(), 50);
        EQUAL(sample->IsPreroll(), S_OK);
    };
    properties.lActual = 1;
    properties.dwSampleFlags = AM_SAMPLE_TIMEVALID;
    refused(SET_UP_TO(tStart), E_INVALIDARG); // no tStop
    properties.dwSampleFlags = 0x20;
    refused(SET_UP_TO(tStop), E_INVALIDARG);
    properties.dwSampleFlags = 0x400;
    refused(SET_UP_TO(tStop), E_INVALIDARG);
    properties.dwSampleFlags = 0;
    properties.lActual = 201;
    refused(SET_UP_TO(lActual), E_INVALIDARG);
    properties.lActual = -1;
    refused(SET_UP_TO(lActual), E_INVALIDARG);
    properties.lActual = 1;
    properties.pbBuffer += 1;
    refused(SET_UP_TO(pbBuffer), E_INVALIDARG);
    properties.pbBuffer -= 1;
    properties.cbBuffer = 199;
    refused(SET_UP_TO(cbBuffer), E_INVALIDARG);
    properties.cbBuffer = 200;
    properties.dwSampleFlags = AM_SAMPLE_TYPECHANGED;
    properties.pMediaType = nullptr;
    refused(SET_UP_TO(cbBuffer), E_POINTER);

    CountedObject object;
    VIDEOINFOHEADER format;
    AM_MEDIA_TYPE type = video(format, &object);
    properties.dwSampleFlags = AM_SAMPLE_TYPECHANGED | AM_SAMPLE_TIMEVALID | AM_SAMPLE_STOPVALID;
    properties.pMediaType = &type;
    properties.tStop = 2000;
    EQUAL(SET_UP_TO(cbBuffer), S_OK);
    EQUAL(object.count(), 2u);
    EQUAL(sample->GetTime(&start, &end), S_OK);
    EQUAL(start, 1000);
    EQUAL(end, 2000);
    EQUAL(sample->GetProperties(size, bytes), S_OK);
    EQUAL(properties.dwStreamId, DWORD(AM_STREAM_CONTROL));
    CHECK(properties.pMediaType != nullptr && properties.pMediaType != &type);
    EQUAL(properties.pMediaType->pUnk, static_cast<IUnknown *>(&object));
    properties.dwSampleFlags = 0; // does not remove the media type
    EQUAL(SET_UP_TO(dwSampleFlags), S_OK);
    EQUAL(sample->GetProperties(size, bytes), S_OK);
    EQUAL(properties.dwSampleFlags, DWORD(AM_SAMPLE_TYPECHANGED));

    first.reset();
    sample.reset();
    EQUAL(object.count(), 1u);
    EQUAL(allocator.get(first), S_OK);
    sample = query<IMediaSample2>(first.get());
    EQUAL(sample->GetProperties(size, bytes), S_OK);
    EQUAL(properties.dwSampleFlags, 0u);
    EQUAL(properties.dwStreamId, DWORD(AM_STREAM_MEDIA));
    EQUAL(properties.pMediaType, nullptr);
}

// --- Lifetimes ---

void samples_can_outlive_the_allocator(const Dll &dll)
{
    topic = "lifetime";
    Com<IMediaSample> sample;
    CountedObject object;
    {
        Allocator allocator(dll, 2, 64);
        EQUAL(allocator.get(sample), S_OK);
        EQUAL(references(allocator.ks.get()), 2u);
        allocator.ks.reset();
        EQUAL(allocator.memory.detach()->Release(), 0u); // still committed
    }
    EQUAL(dll.can_unload_now(), S_FALSE);
    std::memset(pointer_of(sample.get()), 0x77, 64);
    EQUAL(pointer_of(sample.get())[63], 0x77);
    VIDEOINFOHEADER format;
    AM_MEDIA_TYPE type = video(format, &object);
    EQUAL(sample->SetMediaType(&type), S_OK);
    EQUAL(sample->AddRef(), 2u);
    EQUAL(sample->Release(), 1u);
    EQUAL(sample.detach()->Release(), 0u);
    EQUAL(object.count(), 1u);
    EQUAL(dll.can_unload_now(), S_OK);
}

// --- Many threads ---

void fill(IMediaSample *sample, REFERENCE_TIME time)
{
    sample->SetTime(&time, nullptr);
    std::memset(pointer_of(sample), static_cast<BYTE>(time * 31), static_cast<size_t>(sample->GetSize()));
}

bool is_filled(IMediaSample *sample)
{
    REFERENCE_TIME time, end;
    if (sample->GetTime(&time, &end) != VFW_S_NO_STOP_TIME)
        return false;
    const BYTE *data = pointer_of(sample);
    for (LONG at = 0; at < sample->GetSize(); ++at)
        if (data[at] != static_cast<BYTE>(time * 31))
            return false;
    return true;
}

void works_with_four_threads(const Dll &dll)
{
    topic = "four threads";
    constexpr int THREADS = 4, ROUNDS = 5000;
    Allocator allocator(dll, 3, 1024);
    std::atomic<IMediaSample *> mailbox{nullptr};
    std::atomic<int> failed{0}, corrupted{0}, shared{0};
    Notify notify;
    EQUAL(allocator.memory->SetNotify(&notify), S_OK);
    {
        std::vector<std::unique_ptr<Thread>> threads;
        for (int number = 0; number < THREADS; ++number)
            threads.emplace_back(new Thread([&, number] {
                for (int round = 0; round < ROUNDS; ++round) {
                    Com<IMediaSample> sample;
                    if (allocator.get(sample, 0) != S_OK) {
                        ++failed;
                        continue;
                    }
                    shared += references(sample.get()) != 1;
                    fill(sample.get(), number * ROUNDS + round);
                    corrupted += !is_filled(sample.get());
                    // Swaps the sample with the one in the mailbox, which another thread may have filled.
                    Com<IMediaSample> other(mailbox.exchange(sample.detach()));
                    if (other.get())
                        corrupted += !is_filled(other.get());
                }
            }));
    }
    Com<IMediaSample> last(mailbox.load());
    corrupted += !is_filled(last.get());
    last.reset();
    EQUAL(failed.load(), 0);
    EQUAL(corrupted.load(), 0);
    EQUAL(shared.load(), 0);
    EQUAL(notify.calls.load(), THREADS * ROUNDS);
    EQUAL(allocator.free(), 3);

    // The same during Commit and Decommit.
    topic = "four threads, Commit and Decommit";
    std::atomic<bool> done{false};
    std::atomic<int> samples{0}, unexpected{0};
    {
        std::vector<std::unique_ptr<Thread>> threads;
        for (int number = 0; number < THREADS; ++number)
            threads.emplace_back(new Thread([&, number] {
                while (!done) {
                    Com<IMediaSample> sample;
                    HRESULT result = allocator.get(sample, 0);
                    unexpected += result != S_OK && result != VFW_E_NOT_COMMITTED;
                    unexpected += SUCCEEDED(result) != (sample.get() != nullptr);
                    if (!sample.get())
                        continue;
                    ++samples;
                    fill(sample.get(), number);
                    corrupted += !is_filled(sample.get());
                }
            }));
        for (int round = 0; round < 300; ++round) {
            unexpected += allocator.memory->Decommit() != S_OK;
            unexpected += allocator.memory->Commit() != S_OK;
            Sleep(round % 2);
        }
        while (samples == 0)
            Sleep(1);
        done = true;
        unexpected += allocator.memory->Decommit() != S_OK;
    }
    EQUAL(unexpected.load(), 0);
    EQUAL(corrupted.load(), 0);
    EQUAL(allocator.free(), 3);
    EQUAL(allocator.memory->SetNotify(nullptr), S_OK);
    EQUAL(notify.count(), 1u);
}

void run(const Dll &dll)
{
    creates_allocators(dll);
    creates_allocators_with_flags(dll);
    creates_allocators_by_the_class_factory(dll);
    is_created_by_com(dll);
    is_one_object(dll);
    has_a_mode(dll);
    reports_its_status(dll);
    stores_a_handle_and_a_pipe(dll);
    rounds_properties(dll);
    lays_buffers_out(dll);
    refuses_and_waits(dll);
    decommit_wakes_all_waiters(dll);
    refuses_release_buffer(dll);
    notifies_of_releases(dll);
    provides_samples(dll);
    carries_media_types(dll);
    reads_and_writes_properties(dll);
    samples_can_outlive_the_allocator(dll);
    works_with_four_threads(dll);
}

} // namespace

int main(int count, char **arguments)
{
    topic = "DLL";
    Dll dll(count > 1 ? arguments[1] : "ksallocator_dll.dll");
    EQUAL(CoInitializeEx(nullptr, COINIT_MULTITHREADED), S_OK);
    run(dll);
    topic = "unloading";
    EQUAL(dll.can_unload_now(), S_OK);
    CHECK(FreeLibrary(dll.module()));
    CoUninitialize();
    std::printf("client: %d checks passed\n", checks.load());
    return 0;
}
