// A DirectShow graph whose samples come from the allocator:
//
//   our source --> Sample Grabber --> Null Renderer
//
//   graph.exe [PATH OF ksallocator_dll.dll]
//
// The source brings the allocator along to its connection. The grabber's callback checks each sample
// when it arrives, keeps it for a while, and checks it again. Says what it checks, and in its last
// line how many samples it saw; ends with 1 at the first failure.
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

// --- What the samples contain ---

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

// --- The source: a filter with one output pin, and a thread that fills samples ---

// Enumerates one thing: the pin of the filter, or the media type of the pin.
template <typename Enum, typename Item> class One final : public Enum
{
public:
    explicit One(std::function<Item()> give, bool done = false) : give_(give), done_(done) {}
    virtual ~One() = default;

    HRESULT STDMETHODCALLTYPE QueryInterface(REFIID riid, void **out) override
    {
        bool ours = riid == __uuidof(IUnknown) || riid == __uuidof(Enum);
        *out = ours ? this : nullptr;
        if (ours)
            AddRef();
        return ours ? S_OK : E_NOINTERFACE;
    }
    ULONG STDMETHODCALLTYPE AddRef() override { return ++count_; }
    ULONG STDMETHODCALLTYPE Release() override
    {
        ULONG left = --count_;
        if (left == 0)
            delete this;
        return left;
    }

    HRESULT STDMETHODCALLTYPE Next(ULONG wanted, Item *items, ULONG *given) override
    {
        bool one = !done_ && wanted > 0;
        if (one)
            items[0] = give_();
        done_ = done_ || one;
        if (given)
            *given = one;
        return one && wanted == 1 ? S_OK : S_FALSE;
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
        *out = new One(give_, done_);
        return S_OK;
    }

private:
    std::function<Item()> give_;
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

// The source's media type; the format block is the caller's.
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

    // Starts to send `count` samples, and the end of the stream.
    void start(int count);
    // Ends that, wherever it is.
    void stop();

    // Which samples the allocator gave, each once.
    std::vector<IMediaSample *> seen;
    // The number of the sample that is under way.
    std::atomic<int> number{0};
    // What ended the last stream: S_OK, or what GetBuffer or Receive returned.
    HRESULT ended_by = S_OK;

    HRESULT STDMETHODCALLTYPE Connect(IPin *receiver, const AM_MEDIA_TYPE *wanted) override;
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
        *out = new One<IEnumMediaTypes, AM_MEDIA_TYPE *>([] {
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
        *out = new One<IEnumPins, IPin *>([this] { return pin.AddRef(), &pin; });
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
        graph_ = graph; // which owns us, and not the other way round
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

// The receiver agrees to the type, and gets our allocator.
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
    ended_by = allocator_->Commit();
    thread_.reset(new Thread([this, count] {
        receiver_->NewSegment(0, count * DURATION, 1.0);
        while (ended_by == S_OK && number < count)
            ended_by = send_one();
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
    allocator_->Decommit(); // wakes the thread, should it wait
    thread_.reset();
}

// --- The callback ---

class Watch final : public Counted<ISampleGrabberCB>
{
public:
    explicit Watch(OutputPin &from) : from_(from) {}

    // How many samples to keep: each is checked when it comes, and again when it goes.
    size_t keep = BUFFERS - 1;
    std::atomic<int> arrived{0}, wrong{0}, foreign{0}, spoilt{0};

    HRESULT STDMETHODCALLTYPE SampleCB(double seconds, IMediaSample *sample) override
    {
        int number = arrived++;
        double expected = static_cast<double>(number) * DURATION / 1e7;
        wrong += number != from_.number || seconds < expected - 1e-6 || seconds > expected + 1e-6;
        wrong += !is_filled(sample, number);
        // Not a copy, but the very sample that the source has from our allocator.
        foreign += !query<IMediaSample2>(sample).get();
        foreign += std::find(from_.seen.begin(), from_.seen.end(), sample) == from_.seen.end();
        sample->AddRef();
        kept_.push_back({Com<IMediaSample>(sample), number});
        if (kept_.size() > keep)
            let_go(1);
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE BufferCB(double, BYTE *, LONG) override { return E_NOTIMPL; }

    // Releases the oldest samples.
    void let_go(size_t count)
    {
        for (; count > 0; --count) {
            spoilt += !is_filled(kept_.front().sample.get(), kept_.front().number);
            kept_.pop_front();
        }
    }
    size_t kept() const { return kept_.size(); }

private:
    struct Kept
    {
        Com<IMediaSample> sample;
        int number;
    };
    OutputPin &from_;
    std::deque<Kept> kept_;
};

// --- The graph ---

template <typename T> Com<T> make(REFCLSID clsid)
{
    Com<T> made;
    EQUAL(CoCreateInstance(clsid, nullptr, CLSCTX_INPROC_SERVER, __uuidof(T), made.void_out()), S_OK);
    return made;
}

// The pin of a filter that goes that way.
Com<IPin> pin_of(IBaseFilter *filter, PIN_DIRECTION wanted)
{
    Com<IEnumPins> pins;
    EQUAL(filter->EnumPins(pins.out()), S_OK);
    Com<IPin> pin;
    PIN_DIRECTION direction;
    while (pins->Next(1, pin.out(), nullptr) == S_OK)
        if (pin->QueryDirection(&direction) == S_OK && direction == wanted)
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
    Watch watch(source.pin);
    {
        topic = "graph";
        Com<IGraphBuilder> graph = make<IGraphBuilder>(CLSID_FilterGraph);
        Com<IBaseFilter> grabber = make<IBaseFilter>(CLSID_SampleGrabber);
        Com<IBaseFilter> renderer = make<IBaseFilter>(CLSID_NullRenderer);
        Com<ISampleGrabber> grab = query<ISampleGrabber>(grabber.get());
        EQUAL(grab->SetCallback(&watch, 0), S_OK);
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
        // As fast as it goes.
        EQUAL(query<IMediaFilter>(graph.get())->SetSyncSource(nullptr), S_OK);

        topic = "streaming";
        Com<IMediaControl> control = query<IMediaControl>(graph.get());
        Com<IMediaEvent> events; // whose identifier the header lacks
        EQUAL(graph->QueryInterface(IID_IMediaEvent, events.void_out()), S_OK);
        CHECK(SUCCEEDED(control->Run()));
        LONG event = 0;
        EQUAL(events->WaitForCompletion(60000, &event), S_OK);
        EQUAL(event, EC_COMPLETE);
        EQUAL(control->Stop(), S_OK);
        EQUAL(source.pin.ended_by, S_OK);
        EQUAL(watch.arrived.load(), SAMPLES);
        EQUAL(watch.wrong.load(), 0);
        EQUAL(watch.foreign.load(), 0);
        EQUAL(source.pin.seen.size(), static_cast<size_t>(BUFFERS)); // all took part
        // Those that are kept outlast the stop.
        LONG free = -1;
        EQUAL(allocator->GetFreeCount(&free), S_OK);
        EQUAL(free, 1);
        watch.let_go(watch.kept());
        EQUAL(watch.spoilt.load(), 0);
        EQUAL(allocator->GetFreeCount(&free), S_OK);
        EQUAL(free, BUFFERS);

        // Once more; but now nothing comes back, and the source is stopped while it waits.
        topic = "stopping";
        watch.arrived = 0;
        watch.keep = BUFFERS;
        CHECK(SUCCEEDED(control->Run()));
        while (watch.arrived < BUFFERS)
            Sleep(1);
        Sleep(100);
        EQUAL(watch.arrived.load(), BUFFERS);
        DWORD before = GetTickCount();
        EQUAL(control->Stop(), S_OK);
        CHECK(GetTickCount() - before < 10000);
        EQUAL(source.pin.ended_by, VFW_E_NOT_COMMITTED);
        watch.let_go(watch.kept());
        EQUAL(watch.wrong.load() + watch.foreign.load() + watch.spoilt.load(), 0);
        EQUAL(grab->SetCallback(nullptr, 0), S_OK);
    }
    topic = "references";
    EQUAL(source.pin.count(), 1u);
    EQUAL(source.count(), 1u);
    EQUAL(watch.count(), 1u);
    EQUAL(references(ks.get()), 2u); // ours: ks and allocator
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
