// Shared parts of the test programs: checks, interface pointers, threads, and the DLL under test.
#pragma once

#define __STREAMS__ // otherwise ksproxy.h hides its interfaces
#define NO_DSHOW_STRSAFE

#include <windows.h>

#include <dshow.h>

#include <ks.h>
#include <ksproxy.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <type_traits>

// The class that DllGetClassObject of the DLL implements.
constexpr GUID CLSID_KsAllocator = {
    0x11a1e3c9, 0x0132, 0x49fb, {0xb5, 0x05, 0xbb, 0x8e, 0x20, 0x06, 0xc5, 0x9b}};

// Flag of KsAllocatorCreateWithFlags: Commit touches all memory.
constexpr DWORD KSALLOCATOR_PREFAULT = 1;

// --- Checks: each prints one line, and the first failure ends the program ---

inline std::atomic<int> checks{0};
inline const char *topic = "";

inline void checked(bool passed, const char *what, const char *values, const char *file, int line)
{
    if (!passed) {
        std::printf("FAILED %s:%d: %s: %s%s\n", file, line, topic, what, values);
        std::fflush(stdout);
        _exit(1); // without joining other threads, which may be blocked
    }
    std::printf("ok %d %s: %s\n", ++checks, topic, what);
}

template <typename T> void describe(char (&text)[40], T value)
{
    if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>)
        std::snprintf(text, sizeof text, "%p", static_cast<const void *>(value));
    else if constexpr (sizeof(T) <= 4)
        std::snprintf(text, sizeof text, "%d (0x%08x)", static_cast<int>(value), static_cast<unsigned>(value));
    else
        std::snprintf(text, sizeof text, "%lld", static_cast<long long>(value));
}

template <typename Got, typename Want>
void equal(Got got, Want want, const char *what, const char *file, int line)
{
    char got_text[40], want_text[40], values[100];
    describe(got_text, got);
    describe(want_text, want);
    std::snprintf(values, sizeof values, ": got %s, want %s", got_text, want_text);
    bool same;
    if constexpr (std::is_pointer_v<Got>)
        same = static_cast<const void *>(got) == static_cast<const void *>(want);
    else
        same = static_cast<long long>(got) == static_cast<long long>(want);
    checked(same, what, values, file, line);
}

#define CHECK(condition) checked((condition), #condition, "", __FILE__, __LINE__)
#define EQUAL(got, want) equal((got), (want), #got " == " #want, __FILE__, __LINE__)

// --- Interface pointer that releases its reference ---

template <typename T> class Com
{
public:
    Com() = default;
    explicit Com(T *owned) : pointer_(owned) {}
    Com(Com &&other) : pointer_(other.detach()) {}
    Com &operator=(Com &&other)
    {
        *out() = other.detach();
        return *this;
    }
    ~Com() { reset(); }

    T *operator->() const { return pointer_; }
    T *get() const { return pointer_; }

    // Releases the pointer, and returns the place for a new one.
    T **out()
    {
        reset();
        return &pointer_;
    }
    void **void_out() { return reinterpret_cast<void **>(out()); }

    T *detach()
    {
        T *pointer = pointer_;
        pointer_ = nullptr;
        return pointer;
    }

    void reset()
    {
        if (T *pointer = detach())
            pointer->Release();
    }

private:
    T *pointer_ = nullptr;
};

// Returns the interface `To` of an object, or null.
template <typename To> Com<To> query(IUnknown *object)
{
    Com<To> found;
    object->QueryInterface(__uuidof(To), found.void_out());
    return found;
}

// Returns the reference count, as Release reports it.
inline ULONG references(IUnknown *object)
{
    object->AddRef();
    return object->Release();
}

// --- Object of the test program: lives on the stack and counts its references, one of them its own ---

// `Bases` are the interfaces that `Interface` derives from, except IUnknown.
template <typename Interface, typename... Bases> class Counted : public Interface
{
public:
    HRESULT STDMETHODCALLTYPE QueryInterface(REFIID riid, void **out) override
    {
        bool known = riid == __uuidof(IUnknown) || riid == __uuidof(Interface) || ((riid == __uuidof(Bases)) || ...);
        *out = known ? this : nullptr;
        if (known)
            AddRef();
        return known ? S_OK : E_NOINTERFACE;
    }
    ULONG STDMETHODCALLTYPE AddRef() override { return ++count_; }
    ULONG STDMETHODCALLTYPE Release() override { return --count_; }
    ULONG count() const { return count_; }

private:
    std::atomic<ULONG> count_{1};
};

// --- Thread ---

class Thread
{
public:
    explicit Thread(std::function<void()> body)
        : body_(std::move(body)), handle_(CreateThread(nullptr, 0, run, this, 0, nullptr))
    {
        if (!handle_)
            checked(false, "CreateThread", "", __FILE__, __LINE__);
    }
    Thread(const Thread &) = delete;
    ~Thread()
    {
        WaitForSingleObject(handle_, INFINITE);
        CloseHandle(handle_);
    }

    bool ended_within(DWORD milliseconds) const
    {
        return WaitForSingleObject(handle_, milliseconds) == WAIT_OBJECT_0;
    }

private:
    static DWORD WINAPI run(void *self)
    {
        static_cast<Thread *>(self)->body_();
        return 0;
    }

    std::function<void()> body_;
    HANDLE handle_;
};

// --- DLL ---

class Dll
{
public:
    explicit Dll(const char *path) : module_(LoadLibraryA(path))
    {
        char text[300];
        std::snprintf(text, sizeof text, ": %s: error %lu", path, GetLastError());
        checked(module_ != nullptr, "LoadLibrary", text, __FILE__, __LINE__);
        find(create, "KsAllocatorCreate");
        find(create_with_flags, "KsAllocatorCreateWithFlags");
        find(get_class_object, "DllGetClassObject");
        find(can_unload_now, "DllCanUnloadNow");
    }
    Dll(const Dll &) = delete;

    HMODULE module() const { return module_; }

    HRESULT(STDAPICALLTYPE *create)(REFIID riid, void **out);
    HRESULT(STDAPICALLTYPE *create_with_flags)(REFIID riid, DWORD flags, void **out);
    HRESULT(STDAPICALLTYPE *get_class_object)(REFCLSID clsid, REFIID riid, void **out);
    HRESULT(STDAPICALLTYPE *can_unload_now)();

    // Creates an allocator, and returns its interface `T`.
    template <typename T> Com<T> make() const
    {
        Com<T> allocator;
        if (create(__uuidof(T), allocator.void_out()) != S_OK)
            checked(false, "KsAllocatorCreate", "", __FILE__, __LINE__);
        return allocator;
    }

private:
    template <typename Function> void find(Function &function, const char *name)
    {
        function = reinterpret_cast<Function>(reinterpret_cast<void *>(GetProcAddress(module_, name)));
        checked(function != nullptr, name, "", __FILE__, __LINE__);
    }

    HMODULE module_;
};
