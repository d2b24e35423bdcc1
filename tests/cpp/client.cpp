// A client of the allocator in C++, with the Windows headers' own interfaces.
//
//   client.exe [PATH OF ksallocator_dll.dll]
//
// Says what it checks, and in its last line how much; ends with 1 at the first failure.
#include "common.h"

#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace
{

constexpr REFERENCE_TIME UNTOUCHED = 0x5555555555555555;
constexpr DWORD SOON = 10000; // more than any wake-up takes, in ms

// A pointer that no function left there.
template <typename T> T *rubbish() { return reinterpret_cast<T *>(0x5a5a5a5a); }

// IKsAllocator as it is documented: KsSetAllocatorMode returns S_OK or an error. In the header it
// returns nothing; both have to work.
struct IKsAllocatorDocumented : IUnknown
{
    virtual HANDLE STDMETHODCALLTYPE KsGetAllocatorHandle() = 0;
    virtual KSALLOCATORMODE STDMETHODCALLTYPE KsGetAllocatorMode() = 0;
    virtual HRESULT STDMETHODCALLTYPE KsGetAllocatorStatus(KSSTREAMALLOCATOR_STATUS *status) = 0;
    virtual HRESULT STDMETHODCALLTYPE KsSetAllocatorMode(KSALLOCATORMODE mode) = 0;
};

class Something final : public Counted<IUnknown>
{
};

class Notify final : public Counted<IMemAllocatorNotifyCallbackTemp>
{
public:
    HRESULT STDMETHODCALLTYPE NotifyRelease() override
    {
        ++calls;
        if (auto first = std::exchange(at_first, nullptr))
            first();
        return E_FAIL; // which concerns nobody
    }

    std::atomic<int> calls{0};
    std::function<void()> at_first;
};

// An allocator with all its faces.
struct Allocator
{
    explicit Allocator(const Dll &dll)
        : ks(dll.make<IKsAllocatorEx>()), memory(query<IMemAllocatorCallbackTemp>(ks.get()))
    {
    }

    // Committed, with so many buffers of so many bytes.
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

// --- The DLL's own functions ---

void makes_allocators(const Dll &dll)
{
    topic = "create";
    EQUAL(dll.can_unload_now(), S_OK);
    EQUAL(dll.create(__uuidof(IKsAllocator), nullptr), E_POINTER);

    IUnknown *none = rubbish<IUnknown>();
    EQUAL(dll.create(__uuidof(IClassFactory), reinterpret_cast<void **>(&none)), E_NOINTERFACE);
    EQUAL(none, nullptr);
    EQUAL(dll.can_unload_now(), S_OK);

    Com<IKsAllocator> allocator = dll.make<IKsAllocator>();
    EQUAL(references(allocator.get()), 1u);
    EQUAL(dll.can_unload_now(), S_FALSE);
    EQUAL(allocator.detach()->Release(), 0u);
    EQUAL(dll.can_unload_now(), S_OK);
}

void makes_them_by_the_factory(const Dll &dll)
{
    topic = "factory";
    IUnknown *none = rubbish<IUnknown>();
    EQUAL(dll.get_class_object(CLSID_MemoryAllocator, __uuidof(IClassFactory), reinterpret_cast<void **>(&none)),
          CLASS_E_CLASSNOTAVAILABLE);
    EQUAL(none, nullptr);
    none = rubbish<IUnknown>();
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
    Something outer;
    none = rubbish<IUnknown>();
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

// COM, once it knows the factory. (From the registry it would have it by the same function.)
void is_made_by_com(const Dll &dll)
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
    Something outer;
    IUnknown *none = rubbish<IUnknown>();
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
    const IID faces[] = {__uuidof(IUnknown), __uuidof(IKsAllocator), __uuidof(IKsAllocatorEx),
                         __uuidof(IMemAllocator), __uuidof(IMemAllocatorCallbackTemp)};
    // From each face to each other and on to IUnknown: always there, and the same object.
    Com<IUnknown> identity = query<IUnknown>(allocator.ks.get());
    int found = 0, same = 0;
    for (const IID &from : faces) {
        Com<IUnknown> first;
        identity->QueryInterface(from, first.void_out());
        for (const IID &to : faces) {
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
        IUnknown *none = rubbish<IUnknown>();
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

    // What Kernel mode hands out belongs to a kernel object, or it hands out nothing.
    bool committed = SUCCEEDED(allocator.memory->Commit());
    EQUAL(committed, allocator.ks->KsGetAllocatorHandle() != nullptr);
    EQUAL(allocator.get(sample), committed ? S_OK : VFW_E_NOT_COMMITTED);
}

void tells_its_status(const Dll &dll)
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
    EQUAL(status.Framing.FileAlignment, 15u); // as a mask
    EQUAL(status.Framing.Reserved, 0u);
    EQUAL(status.AllocatedFrames, 2u);
    EQUAL(status.Reserved, 0u);
    EQUAL(allocator.memory->Decommit(), S_OK);
    first.reset();
    EQUAL(allocator.ks->KsGetAllocatorStatus(&status), S_OK);
    EQUAL(status.AllocatedFrames, 1u);
}

void keeps_a_handle_and_a_pipe(const Dll &dll)
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
    ALLOCATOR_PROPERTIES_EX *kept = allocator.ks->KsGetProperties();
    CHECK(kept != nullptr);
    const ALLOCATOR_PROPERTIES_EX zero = {};
    EQUAL(std::memcmp(kept, &zero, sizeof zero), 0);
    ALLOCATOR_PROPERTIES_EX pipe;
    std::memset(&pipe, 0x5a, sizeof pipe);
    pipe.cBuffers = 7;
    pipe.MemoryType = __uuidof(IKsAllocator); // any GUID does
    pipe.State = PipeState_Finalized;
    pipe.Output.Weigth = 11;
    pipe.LogicalMemoryType = KS_MemoryTypeUser;
    pipe.AllocatorPlace = Pipe_Allocator_LastPin;
    pipe.PrevSegment = rubbish<IKsAllocatorEx>(); // borrowed, and never followed
    pipe.NextSegments = rubbish<IKsAllocatorEx *>();
    pipe.NumberPins = 13;
    allocator.ks->KsSetProperties(&pipe);
    EQUAL(allocator.ks->KsGetProperties(), kept);
    EQUAL(kept->cBuffers, 7);
    CHECK(kept->MemoryType == pipe.MemoryType);
    EQUAL(kept->State, PipeState_Finalized);
    EQUAL(kept->Output.Weigth, 11u);
    EQUAL(kept->LogicalMemoryType, KS_MemoryTypeUser);
    EQUAL(kept->AllocatorPlace, Pipe_Allocator_LastPin);
    EQUAL(kept->PrevSegment, pipe.PrevSegment);
    EQUAL(kept->CountNextSegments, 0x5a5a5a5au);
    EQUAL(kept->NextSegments, pipe.NextSegments);
    EQUAL(kept->InsideFactors, 0x5a5a5a5au);
    EQUAL(kept->NumberPins, 13u);
    allocator.ks->KsSetProperties(kept); // its own
    allocator.ks->KsSetProperties(nullptr);
    EQUAL(kept->NumberPins, 13u);

    ALLOCATOR_PROPERTIES properties;
    EQUAL(allocator.memory->GetProperties(&properties), S_OK);
    CHECK(all_zero(properties)); // the pool's are another matter
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

    // What is refused changes nothing, and leaves zeroes behind.
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

    // Filters do pass one structure for both.
    EQUAL(allocator.memory->SetProperties(&request, &request), S_OK);
    EQUAL(request.cBuffers, 2);
    EQUAL(request.cbBuffer, 109);

    // Sizes are judged by Commit.
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
    EQUAL(allocator.set(2, 100, 0, 0), VFW_E_BADALIGN); // before anything else
    EQUAL(allocator.set(2, 100, 1, 0), VFW_E_ALREADY_COMMITTED);
    CHECK(all_zero(allocator.actual));
    Com<IMediaSample> sample, other;
    EQUAL(allocator.get(sample), S_OK);
    EQUAL(allocator.memory->Decommit(), S_OK);
    EQUAL(allocator.set(2, 100, 1, 0), VFW_E_BUFFERS_OUTSTANDING);
    *other.out() = nullptr;
    EQUAL(allocator.get(other), VFW_E_NOT_COMMITTED);
    EQUAL(allocator.memory->Commit(), S_OK); // takes the decommit back
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
    IMediaSample *none = rubbish<IMediaSample>();
    EQUAL(allocator.memory->GetBuffer(&none, nullptr, nullptr, 0), VFW_E_NOT_COMMITTED);
    EQUAL(none, nullptr);
    EQUAL(allocator.memory->GetBuffer(nullptr, nullptr, nullptr, 0), E_POINTER);
    EQUAL(allocator.set(1, 64, 1, 0), S_OK);
    EQUAL(allocator.memory->Commit(), S_OK);
    EQUAL(allocator.memory->GetBuffer(nullptr, nullptr, nullptr, 0), E_POINTER);
    EQUAL(allocator.free(), 1);

    Com<IMediaSample> sample;
    REFERENCE_TIME start = 1, end = 2; // hints, and nothing else
    EQUAL(allocator.memory->GetBuffer(sample.out(), &start, &end, 0xfffffffb), S_OK);
    EQUAL(sample->GetTime(&start, &end), VFW_E_SAMPLE_TIME_NOT_SET);
    none = rubbish<IMediaSample>();
    EQUAL(allocator.memory->GetBuffer(&none, nullptr, nullptr, AM_GBF_NOWAIT), VFW_E_TIMEOUT);
    EQUAL(none, nullptr);

    // A release wakes one.
    HRESULT result = E_FAIL;
    {
        Thread waiter([&] {
            Com<IMediaSample> got;
            result = allocator.get(got, 0);
        });
        CHECK(!waiter.ended_within(100));
        sample.reset();
        CHECK(waiter.ended_within(SOON));
    }
    EQUAL(result, S_OK);
    EQUAL(allocator.free(), 1);
}

// Blocks `count` threads in GetBuffer for an allocator's one buffer, does something, and sees whether
// it wakes them all. A thread may be late, and block only afterwards: so with more time, once more.
template <typename Something>
void wakes_all(const Dll &dll, int count, HRESULT expected, Something something)
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
                Com<IMediaSample> got;
                result = allocator.get(got, 0);
            }));
        Sleep(pause);
        int blocked = 0;
        for (const auto &waiter : waiters)
            blocked += !waiter->ended_within(0);
        EQUAL(blocked, count);
        something(allocator);
        woken = true;
        for (const auto &waiter : waiters)
            woken = woken && waiter->ended_within(2000);
        allocator.memory->Decommit(); // for those who were late
    }
    CHECK(woken);
    for (HRESULT result : results)
        EQUAL(result, expected);
}

void decommit_wakes_everybody(const Dll &dll)
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

void refuses_samples_given_back_by_force(const Dll &dll)
{
    topic = "ReleaseBuffer";
    Allocator allocator(dll, 2, 64), other(dll, 2, 64);
    Com<IMediaSample> ours, theirs, strange;
    EQUAL(allocator.get(ours), S_OK);
    EQUAL(other.get(theirs), S_OK);
    EQUAL(allocator.memory->ReleaseBuffer(nullptr), E_POINTER);
    EQUAL(allocator.memory->ReleaseBuffer(theirs.get()), E_INVALIDARG);
    EQUAL(allocator.memory->ReleaseBuffer(ours.get()), E_UNEXPECTED); // it is held
    EQUAL(allocator.free(), 1);
    EQUAL(other.free(), 1);
    EQUAL(references(ours.get()), 1u);

    // One of the system's own.
    Com<IMemAllocator> system;
    EQUAL(CoCreateInstance(CLSID_MemoryAllocator, nullptr, CLSCTX_INPROC_SERVER, __uuidof(IMemAllocator),
                           system.void_out()),
          S_OK);
    ALLOCATOR_PROPERTIES request = {1, 64, 1, 0}, actual;
    EQUAL(system->SetProperties(&request, &actual), S_OK);
    EQUAL(system->Commit(), S_OK);
    EQUAL(system->GetBuffer(strange.out(), nullptr, nullptr, 0), S_OK);
    EQUAL(allocator.memory->ReleaseBuffer(strange.get()), E_INVALIDARG);
    strange.reset();
    EQUAL(system->Decommit(), S_OK);
}

// --- IMemAllocatorCallbackTemp ---

void tells_of_releases(const Dll &dll)
{
    topic = "NotifyRelease";
    Allocator allocator(dll, 3, 64);
    Notify notify;
    LONG free_then = -1;
    HRESULT result = E_FAIL;
    notify.at_first = [&] {
        // The sample is back already, and no lock is held.
        Com<IMediaSample> sample;
        free_then = allocator.free();
        result = allocator.get(sample);
    };
    EQUAL(allocator.memory->SetNotify(&notify), S_OK);
    EQUAL(notify.count(), 2u);
    EQUAL(allocator.memory->SetNotify(&notify), S_OK); // the same again
    EQUAL(notify.count(), 2u);

    Com<IMediaSample> first, second;
    EQUAL(allocator.get(first), S_OK);
    EQUAL(allocator.get(second), S_OK);
    EQUAL(first->AddRef(), 2u);
    EQUAL(first->Release(), 1u);
    EQUAL(notify.calls.load(), 0);
    EQUAL(first.detach()->Release(), 0u);
    EQUAL(notify.calls.load(), 2); // for the one it took meanwhile, too
    EQUAL(free_then, 2);
    EQUAL(result, S_OK);
    EQUAL(allocator.memory->Decommit(), S_OK);
    EQUAL(notify.calls.load(), 2);
    second.reset();
    EQUAL(notify.calls.load(), 3); // also for the one that completes the decommit
    EQUAL(notify.count(), 2u);

    Notify later;
    EQUAL(allocator.memory->SetNotify(&later), S_OK);
    EQUAL(notify.count(), 1u);
    EQUAL(later.count(), 2u);
    EQUAL(allocator.memory->SetNotify(nullptr), S_OK);
    EQUAL(later.count(), 1u);

    // Taken away from within; and given back with the allocator.
    EQUAL(allocator.memory->Commit(), S_OK);
    EQUAL(allocator.get(first), S_OK);
    notify.at_first = [&] { result = allocator.memory->SetNotify(nullptr); };
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

void hands_samples_out(const Dll &dll)
{
    topic = "sample";
    Allocator allocator(dll, 1, 200);
    Com<IMediaSample> sample;
    EQUAL(allocator.get(sample), S_OK);
    EQUAL(query<IUnknown>(sample.get()).get(), sample.get());
    EQUAL(query<IMediaSample>(sample.get()).get(), sample.get());
    EQUAL(query<IMediaSample2>(sample.get()).get(), sample.get());
    IUnknown *none = rubbish<IUnknown>();
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
    EQUAL(sample->SetTime(&ten, &five), S_OK); // ends before it starts, as it is told
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
    EQUAL(sample->SetSyncPoint(5), S_OK); // any BOOL but 0 is true
    EQUAL(sample->IsSyncPoint(), S_OK);
    EQUAL(sample->IsPreroll(), S_FALSE);
    EQUAL(sample->SetPreroll(TRUE), S_OK);
    EQUAL(sample->IsPreroll(), S_OK);
    EQUAL(sample->IsDiscontinuity(), S_FALSE);
    EQUAL(sample->SetDiscontinuity(-1), S_OK);
    EQUAL(sample->IsDiscontinuity(), S_OK);
    EQUAL(sample->SetSyncPoint(FALSE), S_OK);
    EQUAL(sample->IsSyncPoint(), S_FALSE);

    // The next owner finds all of it gone, but for the length.
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

// A media type that owns a format block and an object.
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
    AM_MEDIA_TYPE *copy = rubbish<AM_MEDIA_TYPE>();
    EQUAL(sample->GetMediaType(&copy), S_FALSE);
    EQUAL(copy, nullptr);
    EQUAL(sample->GetMediaType(nullptr), E_POINTER);

    Something object;
    VIDEOINFOHEADER format;
    AM_MEDIA_TYPE type = video(format, &object);
    EQUAL(sample->SetMediaType(&type), S_OK);
    EQUAL(object.count(), 2u);
    format.bmiHeader.biWidth = 1; // the sample's is a copy
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
    EQUAL(sample->SetMediaType(copy), S_OK); // replaced; the copy stays ours
    EQUAL(object.count(), 3u);
    free_media_type(copy);
    EQUAL(object.count(), 2u);
    EQUAL(sample->SetMediaType(nullptr), S_OK);
    EQUAL(object.count(), 1u);
    EQUAL(sample->GetMediaType(&copy), S_FALSE);

    type.cbFormat = 0; // no format
    type.pbFormat = nullptr;
    EQUAL(sample->SetMediaType(&type), S_OK);
    EQUAL(sample->GetMediaType(&copy), S_OK);
    EQUAL(copy->cbFormat, 0u);
    EQUAL(copy->pbFormat, nullptr);
    free_media_type(copy);
    EQUAL(object.count(), 2u);
    sample.reset(); // the sample's goes with it
    EQUAL(object.count(), 1u);
}

// --- IMediaSample2 ---

// SetProperties with the fields up to the end of `field`.
#define SET_UP_TO(field)                                                                                     \
    sample->SetProperties(offsetof(AM_SAMPLE2_PROPERTIES, field) + sizeof properties.field,                  \
                          reinterpret_cast<BYTE *>(&properties))

void has_properties(const Dll &dll)
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
    EQUAL(sample->SetProperties(size, bytes), S_OK); // what it said itself
    properties.dwSampleFlags = AM_SAMPLE_PREROLL | AM_SAMPLE_ENDOFSTREAM;
    properties.lActual = 50;
    properties.tStart = 1000;
    properties.dwStreamId = AM_STREAM_CONTROL;
    EQUAL(SET_UP_TO(dwSampleFlags), S_OK);
    EQUAL(sample->IsPreroll(), S_OK);
    EQUAL(sample->IsSyncPoint(), S_FALSE);
    EQUAL(sample->GetActualDataLength(), 200);
    EQUAL(sample->GetTime(&start, &end), VFW_E_SAMPLE_TIME_NOT_SET);
    EQUAL(sample->GetMediaTime(&start, &end), S_OK); // has no flag there
    EQUAL(SET_UP_TO(lActual), S_OK);
    EQUAL(sample->GetActualDataLength(), 50);

    // Refused, and nothing of it done.
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

    Something object;
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
    properties.dwSampleFlags = 0; // does not take the type away
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

void samples_may_outlive_it(const Dll &dll)
{
    topic = "lifetime";
    Com<IMediaSample> sample;
    Something object;
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

void bears_four_threads(const Dll &dll)
{
    topic = "four threads";
    constexpr int THREADS = 4, ROUNDS = 5000;
    Allocator allocator(dll, 3, 1024);
    std::atomic<IMediaSample *> mailbox{nullptr};
    std::atomic<int> failed{0}, spoilt{0}, shared{0};
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
                    spoilt += !is_filled(sample.get());
                    // Into the mailbox; whichever lay there was filled by another thread.
                    Com<IMediaSample> other(mailbox.exchange(sample.detach()));
                    if (other.get())
                        spoilt += !is_filled(other.get());
                }
            }));
    }
    Com<IMediaSample> last(mailbox.load());
    spoilt += !is_filled(last.get());
    last.reset();
    EQUAL(failed.load(), 0);
    EQUAL(spoilt.load(), 0);
    EQUAL(shared.load(), 0);
    EQUAL(notify.calls.load(), THREADS * ROUNDS);
    EQUAL(allocator.free(), 3);

    // The same while the gate opens and closes.
    topic = "four threads, Commit and Decommit";
    std::atomic<bool> done{false};
    std::atomic<int> got{0}, strange{0};
    {
        std::vector<std::unique_ptr<Thread>> threads;
        for (int number = 0; number < THREADS; ++number)
            threads.emplace_back(new Thread([&, number] {
                while (!done) {
                    Com<IMediaSample> sample;
                    HRESULT result = allocator.get(sample, 0);
                    strange += result != S_OK && result != VFW_E_NOT_COMMITTED;
                    strange += SUCCEEDED(result) != (sample.get() != nullptr);
                    if (!sample.get())
                        continue;
                    ++got;
                    fill(sample.get(), number);
                    spoilt += !is_filled(sample.get());
                }
            }));
        for (int round = 0; round < 300; ++round) {
            strange += allocator.memory->Decommit() != S_OK;
            strange += allocator.memory->Commit() != S_OK;
            Sleep(round % 2);
        }
        while (got == 0)
            Sleep(1);
        done = true;
        strange += allocator.memory->Decommit() != S_OK;
    }
    EQUAL(strange.load(), 0);
    EQUAL(spoilt.load(), 0);
    EQUAL(allocator.free(), 3);
    EQUAL(allocator.memory->SetNotify(nullptr), S_OK);
    EQUAL(notify.count(), 1u);
}

void run(const Dll &dll)
{
    makes_allocators(dll);
    makes_them_by_the_factory(dll);
    is_made_by_com(dll);
    is_one_object(dll);
    has_a_mode(dll);
    tells_its_status(dll);
    keeps_a_handle_and_a_pipe(dll);
    rounds_properties(dll);
    lays_buffers_out(dll);
    refuses_and_waits(dll);
    decommit_wakes_everybody(dll);
    refuses_samples_given_back_by_force(dll);
    tells_of_releases(dll);
    hands_samples_out(dll);
    carries_media_types(dll);
    has_properties(dll);
    samples_may_outlive_it(dll);
    bears_four_threads(dll);
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
