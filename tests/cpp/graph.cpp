// DirectShow graph whose samples come from the allocator:
//
//   source of this program --> Sample Grabber --> Null Renderer
//
//   graph.exe [PATH OF ksallocator_dll.dll]
//
// The source provides the allocator for its connection. The grabber's callback checks each sample
// when it arrives, holds it for a while, and checks it again. Prints each check, and in the last
// line the number of samples. Exits with 1 at the first failure.
#include "common.h"

#include <qedit.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <vector>

namespace
{

constexpr GUID CLSID_SampleGrabber = {
    0xc1f400a0, 0x3f08, 0x11d3, {0x9f, 0x0b, 0x00, 0x60, 0x08, 0x03, 0x9e, 0x37}};
constexpr GUID CLSID_NullRenderer = {
    0xc1f400a4, 0x3f08, 0x11d3, {0x9f, 0x0b, 0x00, 0x60, 0x08, 0x03, 0x9e, 0x37}};

constexpr LONG BUFFERS = 4, WIDTH = 64, HEIGHT = 48, SIZE = WIDTH * HEIGHT * 3;
constexpr int SAMPLES = 1000;
constexpr REFERENCE_TIME DURATION = 400000; // 40 ms

// --- Contents of the samples ---

LONG length_of(int number) { return SIZE - number % 7; }

void fill(IMediaSample *sample, int number)
{
    BYTE *data;
    sample->GetPointer(&data);
    for (LONG at = 0; at < length_of(number); ++at)
        data[at] = static_cast<BYTE>(at + number * 31);
    REFERENCE_TIME start = number * DURATION, end = start + DURATION, media = number, next = media + 1;
    sample->SetTime(&start, &end);
    sample->SetMediaTime(&media, &next);
    sample->SetActualDataLength(length_of(number));
    sample->SetSyncPoint(number % 10 == 0);
}

bool is_filled(IMediaSample *sample, int number)
{
    REFERENCE_TIME start, end, media, next;
    BYTE *data;
    bool right = sample->GetTime(&start, &end) == S_OK && sample->GetMediaTime(&media, &next) == S_OK &&
                 sample->GetPointer(&data) == S_OK && start == number * DURATION && end == start + DURATION &&
                 media == number && next == media + 1 && sample->GetActualDataLength() == length_of(number) &&
                 sample->IsSyncPoint() == (number % 10 == 0 ? S_OK : S_FALSE);
    for (LONG at = 0; right && at < length_of(number); ++at)
        right = data[at] == static_cast<BYTE>(at + number * 31);
    return right;
}

// --- Source: a filter with one output pin, and a thread that fills samples ---

// Enumerator of one item: the pin of the filter, or the media type of the pin.
template <typename Enum, typename Item> class SingleItemEnum final : public Enum
{
public:
    explicit SingleItemEnum(std::function<Item()> item, bool done = false) : item_(item), done_(done) {}
    virtual ~SingleItemEnum() = default;

    HRESULT STDMETHODCALLTYPE QueryInterface(REFIID riid, void **out) override
    {
        bool known = riid == __uuidof(IUnknown) || riid == __uuidof(Enum);
        *out = known ? this : nullptr;
        if (known)
            AddRef();
        return known ? S_OK : E_NOINTERFACE;
    }
    ULONG STDMETHODCALLTYPE AddRef() override { return ++count_; }
    ULONG STDMETHODCALLTYPE Release() override
    {
        ULONG left = --count_;
        if (left == 0)
            delete this;
        return left;
    }

    HRESULT STDMETHODCALLTYPE Next(ULONG requested, Item *items, ULONG *fetched) override
    {
        bool one = !done_ && requested > 0;
        if (one)
            items[0] = item_();
        done_ = done_ || one;
        if (fetched)
            *fetched = one;
        return one && requested == 1 ? S_OK : S_FALSE;
    }
    HRESULT STDMETHODCALLTYPE Skip(ULONG count) override
    {
        bool enough = count <= (done_ ? 0u : 1u);
        done_ = done_ || count > 0;
        return enough ? S_OK : S_FALSE;
    }
    HRESULT STDMETHODCALLTYPE Reset() override
    {
        done_ = false;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE Clone(Enum **out) override
    {
        *out = new SingleItemEnum(item_, done_);
        return S_OK;
    }

private:
    std::function<Item()> item_;
    bool done_;
    std::atomic<ULONG> count_{1};
};

VIDEOINFOHEADER video_format()
{
    VIDEOINFOHEADER format = {};
    format.AvgTimePerFrame = DURATION;
    format.bmiHeader.biSize = sizeof format.bmiHeader;
    format.bmiHeader.biWidth = WIDTH;
    format.bmiHeader.biHeight = HEIGHT;
    format.bmiHeader.biPlanes = 1;
    format.bmiHeader.biBitCount = 24;
    format.bmiHeader.biCompression = BI_RGB;
    format.bmiHeader.biSizeImage = SIZE;
    return format;
}

// Returns the media type of the source. The caller frees the format block.
AM_MEDIA_TYPE video_type()
{
    AM_MEDIA_TYPE type = {};
    type.majortype = MEDIATYPE_Video;
    type.subtype = MEDIASUBTYPE_RGB24;
    type.bFixedSizeSamples = TRUE;
    type.lSampleSize = SIZE;
    type.formattype = FORMAT_VideoInfo;
    type.cbFormat = sizeof(VIDEOINFOHEADER);
    type.pbFormat = static_cast<BYTE *>(CoTaskMemAlloc(sizeof(VIDEOINFOHEADER)));
    new (type.pbFormat) VIDEOINFOHEADER(video_format());
    return type;
}

bool is_video_type(const AM_MEDIA_TYPE *type)
{
    return type->majortype == MEDIATYPE_Video && type->subtype == MEDIASUBTYPE_RGB24;
}

class Source;

class OutputPin final : public Counted<IPin>
{
public:
    OutputPin(Source &filter, IMemAllocator *allocator) : filter_(filter), allocator_(allocator) {}

    // Starts a thread that sends `count` samples and the end of the stream.
    void start(int count);
    // Stops the thread, even if it waits for a buffer.
    void stop();

    // The samples that the allocator returned, each listed once.
    std::vector<IMediaSample *> seen;
    // The number of the sample that is being sent.
    std::atomic<int> number{0};
    // The result that ended the last stream: S_OK, or an error of GetBuffer or Receive.
    HRESULT stream_result = S_OK;

    HRESULT STDMETHODCALLTYPE Connect(IPin *receiver, const AM_MEDIA_TYPE *requested) override;
    HRESULT STDMETHODCALLTYPE ReceiveConnection(IPin *, const AM_MEDIA_TYPE *) override { return E_UNEXPECTED; }
    HRESULT STDMETHODCALLTYPE Disconnect() override
    {
        HRESULT result = receiver_.get() ? S_OK : S_FALSE;
        transport_.reset();
        receiver_.reset();
        return result;
    }
    HRESULT STDMETHODCALLTYPE ConnectedTo(IPin **out) override
    {
        *out = receiver_.get();
        if (!*out)
            return VFW_E_NOT_CONNECTED;
        (*out)->AddRef();
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE ConnectionMediaType(AM_MEDIA_TYPE *out) override
    {
        if (!receiver_.get())
            return VFW_E_NOT_CONNECTED;
        *out = video_type();
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE QueryPinInfo(PIN_INFO *out) override;
    HRESULT STDMETHODCALLTYPE QueryDirection(PIN_DIRECTION *out) override
    {
        *out = PINDIR_OUTPUT;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE QueryId(LPWSTR *out) override
    {
        *out = static_cast<LPWSTR>(CoTaskMemAlloc(sizeof L"Out"));
        std::memcpy(*out, L"Out", sizeof L"Out");
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE QueryAccept(const AM_MEDIA_TYPE *type) override
    {
        return is_video_type(type) ? S_OK : S_FALSE;
    }
    HRESULT STDMETHODCALLTYPE EnumMediaTypes(IEnumMediaTypes **out) override
    {
        *out = new SingleItemEnum<IEnumMediaTypes, AM_MEDIA_TYPE *>([] {
            void *type = CoTaskMemAlloc(sizeof(AM_MEDIA_TYPE));
            return new (type) AM_MEDIA_TYPE(video_type());
        });
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE QueryInternalConnections(IPin **, ULONG *) override { return E_NOTIMPL; }
    HRESULT STDMETHODCALLTYPE EndOfStream() override { return E_UNEXPECTED; }
    HRESULT STDMETHODCALLTYPE BeginFlush() override { return E_UNEXPECTED; }
    HRESULT STDMETHODCALLTYPE EndFlush() override { return E_UNEXPECTED; }
    HRESULT STDMETHODCALLTYPE NewSegment(REFERENCE_TIME, REFERENCE_TIME, double) override { return S_OK; }

private:
    HRESULT send_one();

    Source &filter_;
    IMemAllocator *allocator_;
    Com<IPin> receiver_;
    Com<IMemInputPin> transport_;
    std::unique_ptr<Thread> thread_;
};

class Source final : public Counted<IBaseFilter, IMediaFilter, IPersist>
{
public:
    explicit Source(IMemAllocator *allocator) : pin(*this, allocator) {}

    OutputPin pin;

    HRESULT STDMETHODCALLTYPE GetClassID(CLSID *out) override
    {
        *out = {};
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE Stop() override
    {
        if (state_ != State_Stopped)
            pin.stop();
        state_ = State_Stopped;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE Pause() override
    {
        if (state_ == State_Stopped)
            pin.start(SAMPLES);
        state_ = State_Paused;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE Run(REFERENCE_TIME) override
    {
        Pause();
        state_ = State_Running;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE GetState(DWORD, FILTER_STATE *out) override
    {
        *out = state_;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE SetSyncSource(IReferenceClock *) override { return S_OK; }
    HRESULT STDMETHODCALLTYPE GetSyncSource(IReferenceClock **out) override
    {
        *out = nullptr;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE EnumPins(IEnumPins **out) override
    {
        *out = new SingleItemEnum<IEnumPins, IPin *>([this] { return pin.AddRef(), &pin; });
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE FindPin(LPCWSTR, IPin **out) override
    {
        *out = nullptr;
        return VFW_E_NOT_FOUND;
    }
    HRESULT STDMETHODCALLTYPE QueryFilterInfo(FILTER_INFO *out) override
    {
        *out = {};
        lstrcpyW(out->achName, L"Source");
        out->pGraph = graph_;
        if (graph_)
            graph_->AddRef();
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE JoinFilterGraph(IFilterGraph *graph, LPCWSTR) override
    {
        graph_ = graph; // not counted: the graph owns the filter
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE QueryVendorInfo(LPWSTR *) override { return E_NOTIMPL; }

private:
    IFilterGraph *graph_ = nullptr;
    std::atomic<FILTER_STATE> state_{State_Stopped};
};

HRESULT OutputPin::QueryPinInfo(PIN_INFO *out)
{
    *out = {};
    out->pFilter = &filter_;
    filter_.AddRef();
    out->dir = PINDIR_OUTPUT;
    lstrcpyW(out->achName, L"Out");
    return S_OK;
}

// Connects with the source's media type, and passes the allocator to the receiver.
HRESULT OutputPin::Connect(IPin *receiver, const AM_MEDIA_TYPE *)
{
    AM_MEDIA_TYPE type = video_type();
    HRESULT result = receiver->ReceiveConnection(this, &type);
    CoTaskMemFree(type.pbFormat);
    if (FAILED(result))
        return result;
    transport_ = query<IMemInputPin>(receiver);
    if (!transport_.get())
        return E_NOINTERFACE;
    ALLOCATOR_PROPERTIES request = {BUFFERS, SIZE, 1, 0}, actual;
    transport_->GetAllocatorRequirements(&request);
    request.cBuffers = std::max(request.cBuffers, BUFFERS);
    request.cbBuffer = std::max(request.cbBuffer, SIZE);
    request.cbAlign = std::max(request.cbAlign, 1l);
    result = allocator_->SetProperties(&request, &actual);
    if (SUCCEEDED(result))
        result = transport_->NotifyAllocator(allocator_, FALSE);
    if (FAILED(result)) {
        transport_.reset();
        receiver->Disconnect();
        return result;
    }
    receiver->AddRef();
    receiver_ = Com<IPin>(receiver);
    return S_OK;
}

void OutputPin::start(int count)
{
    number = 0;
    stream_result = allocator_->Commit();
    thread_.reset(new Thread([this, count] {
        receiver_->NewSegment(0, count * DURATION, 1.0);
        while (stream_result == S_OK && number < count)
            stream_result = send_one();
        receiver_->EndOfStream();
    }));
}

// Fills a sample and sends it down the graph.
HRESULT OutputPin::send_one()
{
    Com<IMediaSample> sample;
    HRESULT result = allocator_->GetBuffer(sample.out(), nullptr, nullptr, 0);
    if (FAILED(result))
        return result;
    if (std::find(seen.begin(), seen.end(), sample.get()) == seen.end())
        seen.push_back(sample.get());
    fill(sample.get(), number);
    result = transport_->Receive(sample.get());
    ++number;
    return result;
}

void OutputPin::stop()
{
    allocator_->Decommit(); // wakes the thread if it waits in GetBuffer
    thread_.reset();
}

// --- Callback ---

class GrabberCallback final : public Counted<ISampleGrabberCB>
{
public:
    explicit GrabberCallback(OutputPin &from) : from_(from) {}

    // The number of samples to hold. Each is checked when it arrives and when it is released.
    size_t max_held = BUFFERS - 1;
    std::atomic<int> arrived{0}, wrong{0}, foreign{0}, corrupted{0};

    HRESULT STDMETHODCALLTYPE SampleCB(double seconds, IMediaSample *sample) override
    {
        int number = arrived++;
        double expected = static_cast<double>(number) * DURATION / 1e7;
        wrong += number != from_.number || seconds < expected - 1e-6 || seconds > expected + 1e-6;
        wrong += !is_filled(sample, number);
        // It is the sample that the source got from the allocator, not a copy.
        foreign += !query<IMediaSample2>(sample).get();
        foreign += std::find(from_.seen.begin(), from_.seen.end(), sample) == from_.seen.end();
        sample->AddRef();
        held_.push_back({Com<IMediaSample>(sample), number});
        if (held_.size() > max_held)
            release_oldest(1);
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE BufferCB(double, BYTE *, LONG) override { return E_NOTIMPL; }

    // Checks and releases the oldest samples.
    void release_oldest(size_t count)
    {
        for (; count > 0; --count) {
            corrupted += !is_filled(held_.front().sample.get(), held_.front().number);
            held_.pop_front();
        }
    }
    size_t held() const { return held_.size(); }

private:
    struct Held
    {
        Com<IMediaSample> sample;
        int number;
    };
    OutputPin &from_;
    std::deque<Held> held_;
};

// --- Graph ---

template <typename T> Com<T> make(REFCLSID clsid)
{
    Com<T> object;
    EQUAL(CoCreateInstance(clsid, nullptr, CLSCTX_INPROC_SERVER, __uuidof(T), object.void_out()), S_OK);
    return object;
}

// Returns the first pin of a filter with this direction.
Com<IPin> pin_of(IBaseFilter *filter, PIN_DIRECTION requested)
{
    Com<IEnumPins> pins;
    EQUAL(filter->EnumPins(pins.out()), S_OK);
    Com<IPin> pin;
    PIN_DIRECTION direction;
    while (pins->Next(1, pin.out(), nullptr) == S_OK)
        if (pin->QueryDirection(&direction) == S_OK && direction == requested)
            break;
    CHECK(pin.get() != nullptr);
    return pin;
}

void run(const Dll &dll)
{
    topic = "allocator";
    Com<IKsAllocatorEx> ks = dll.make<IKsAllocatorEx>();
    Com<IMemAllocatorCallbackTemp> allocator = query<IMemAllocatorCallbackTemp>(ks.get());
    CHECK(allocator.get() != nullptr);
    Source source(allocator.get());
    GrabberCallback callback(source.pin);
    {
        topic = "graph";
        Com<IGraphBuilder> graph = make<IGraphBuilder>(CLSID_FilterGraph);
        Com<IBaseFilter> grabber = make<IBaseFilter>(CLSID_SampleGrabber);
        Com<IBaseFilter> renderer = make<IBaseFilter>(CLSID_NullRenderer);
        Com<ISampleGrabber> grab = query<ISampleGrabber>(grabber.get());
        EQUAL(grab->SetCallback(&callback, 0), S_OK);
        EQUAL(graph->AddFilter(&source, L"Source"), S_OK);
        EQUAL(graph->AddFilter(grabber.get(), L"Grabber"), S_OK);
        EQUAL(graph->AddFilter(renderer.get(), L"Renderer"), S_OK);

        topic = "connection";
        Com<IPin> in = pin_of(grabber.get(), PINDIR_INPUT);
        EQUAL(graph->ConnectDirect(&source.pin, in.get(), nullptr), S_OK);
        EQUAL(graph->ConnectDirect(pin_of(grabber.get(), PINDIR_OUTPUT).get(),
                                   pin_of(renderer.get(), PINDIR_INPUT).get(), nullptr),
              S_OK);
        Com<IMemAllocator> chosen;
        EQUAL(query<IMemInputPin>(in.get())->GetAllocator(chosen.out()), S_OK);
        EQUAL(chosen.get(), allocator.get());
        ALLOCATOR_PROPERTIES properties;
        EQUAL(allocator->GetProperties(&properties), S_OK);
        EQUAL(properties.cBuffers, BUFFERS);
        // Without a clock the graph runs as fast as it can.
        EQUAL(query<IMediaFilter>(graph.get())->SetSyncSource(nullptr), S_OK);

        topic = "streaming";
        Com<IMediaControl> control = query<IMediaControl>(graph.get());
        Com<IMediaEvent> events; // the header has no __uuidof for it
        EQUAL(graph->QueryInterface(IID_IMediaEvent, events.void_out()), S_OK);
        CHECK(SUCCEEDED(control->Run()));
        LONG event = 0;
        EQUAL(events->WaitForCompletion(60000, &event), S_OK);
        EQUAL(event, EC_COMPLETE);
        EQUAL(control->Stop(), S_OK);
        EQUAL(source.pin.stream_result, S_OK);
        EQUAL(callback.arrived.load(), SAMPLES);
        EQUAL(callback.wrong.load(), 0);
        EQUAL(callback.foreign.load(), 0);
        EQUAL(source.pin.seen.size(), static_cast<size_t>(BUFFERS)); // every buffer was used
        // The samples that the callback holds survive the stop.
        LONG free = -1;
        EQUAL(allocator->GetFreeCount(&free), S_OK);
        EQUAL(free, 1);
        callback.release_oldest(callback.held());
        EQUAL(callback.corrupted.load(), 0);
        EQUAL(allocator->GetFreeCount(&free), S_OK);
        EQUAL(free, BUFFERS);

        // The second run: the callback releases nothing, and the source is stopped while it waits.
        topic = "stopping";
        callback.arrived = 0;
        callback.max_held = BUFFERS;
        CHECK(SUCCEEDED(control->Run()));
        while (callback.arrived < BUFFERS)
            Sleep(1);
        Sleep(100);
        EQUAL(callback.arrived.load(), BUFFERS);
        DWORD before = GetTickCount();
        EQUAL(control->Stop(), S_OK);
        CHECK(GetTickCount() - before < 10000);
        EQUAL(source.pin.stream_result, VFW_E_NOT_COMMITTED);
        callback.release_oldest(callback.held());
        EQUAL(callback.wrong.load() + callback.foreign.load() + callback.corrupted.load(), 0);
        EQUAL(grab->SetCallback(nullptr, 0), S_OK);
    }
    topic = "references";
    EQUAL(source.pin.count(), 1u);
    EQUAL(source.count(), 1u);
    EQUAL(callback.count(), 1u);
    EQUAL(references(ks.get()), 2u); // `ks` and `allocator`
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
    CoUninitialize();
    std::printf("graph: %d samples verified\n", SAMPLES);
    return 0;
}
