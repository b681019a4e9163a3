// Boxes of a runtime in C++ that was written for libmmap, linked with addrspace.
//
//     c++ -o libmmap examples/cpp/libmmap.cpp $(pkg-config --cflags --libs addrspace)
//
// The handle has an owner, and callbacks are lambdas, which may call the same box again.
// The addresses are those of guests that live elsewhere: nothing is mapped here.
#include <mmap_c.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

namespace {

constexpr std::size_t PAGE = 4096;

class Box {
  public:
    Box(std::uintptr_t start, std::size_t len) : mm(mmap_create(start, len, PAGE)) {
        if (!mm)
            std::abort();
    }

    // The same seed and calls give the same places.
    void randomise(std::uint64_t seed) { mmap_enable_aslr(mm.get(), seed); }

    std::optional<std::uintptr_t> map(std::size_t len, int prot) {
        const std::uintptr_t addr = mmap_map_any(mm.get(), 0, len, prot, 0, -1, 0);
        return addr == UINTPTR_MAX ? std::nullopt : std::optional(addr);
    }

    std::optional<MMapInfo> at(std::uintptr_t addr) const {
        MMapInfo info{};
        return mmap_query_page(mm.get(), addr, &info) ? std::optional(info) : std::nullopt;
    }

    template <class Hear> bool unmap(std::uintptr_t addr, std::size_t len, Hear &&hear) {
        return mmap_unmap(mm.get(), addr, len, call<Hear>, address(hear)) == MMAP_OK;
    }

    template <class Hear> bool protect(std::uintptr_t addr, std::size_t len, int prot, Hear &&hear) {
        return mmap_protect(mm.get(), addr, len, prot, call<Hear>, address(hear)) == MMAP_OK;
    }

    void mark() { mmap_mark_original(mm.get()); }

    template <class Hear> void reset(Hear &&hear) {
        mmap_unmap_non_original(mm.get(), call<Hear>, address(hear));
    }

  private:
    // An exception must not pass through the library, so a callback has none.
    template <class Hear>
    static void call(std::uintptr_t start, std::size_t len, MMapInfo info, void *udata) {
        using F = std::remove_reference_t<Hear>;
        static_assert(std::is_nothrow_invocable_v<F &, std::uintptr_t, std::size_t, MMapInfo>);
        (*static_cast<F *>(udata))(start, len, info);
    }

    template <class Hear> static void *address(Hear &hear) { return std::addressof(hear); }

    struct Destroy {
        void operator()(MMapAddrSpace *handle) const { mmap_destroy(handle); }
    };
    std::unique_ptr<MMapAddrSpace, Destroy> mm;
};

void must(bool holds, const char *what) {
    if (!holds) {
        std::fprintf(stderr, "libmmap: %s\n", what);
        std::exit(1);
    }
}

// Where a guest's memory lies in a box that was randomised with `seed`.
std::vector<std::uintptr_t> layout(std::uint64_t seed) {
    Box box(0x100000000, std::size_t{1} << 30);
    box.randomise(seed);
    std::vector<std::uintptr_t> places;
    for (std::size_t pages = 1; pages <= 8; pages++)
        places.push_back(box.map(pages * PAGE, 3).value());
    return places;
}

} // namespace

int main() {
    must(layout(42) == layout(42), "the same seed gives the same places");
    must(layout(42) != layout(43), "another seed gives others");

    Box box(0x10000, 64 * PAGE);
    const std::uintptr_t program = box.map(4 * PAGE, 5).value();
    box.mark();
    const std::uintptr_t heap = box.map(8 * PAGE, 3).value();
    must(!box.map(SIZE_MAX, 3), "a length beyond the box");

    // A callback asks the books for more than it is told: what lies behind the range.
    bool heap_goes_on = false;
    must(box.unmap(heap, 2 * PAGE, [&](std::uintptr_t start, std::size_t len, MMapInfo) noexcept {
        heap_goes_on = box.at(start + len).has_value();
    }), "unmap the first pages of the heap");
    must(heap_goes_on && !box.at(heap), "the books are as before until the callbacks are through");

    must(box.protect(program + PAGE, PAGE, 1, [](auto, auto, MMapInfo was) noexcept {
        must(was.prot == 5 && was.original, "the callback hears what was there");
    }), "protect a page of the program");
    must(box.at(program + PAGE)->prot == 1, "it is protected");

    std::size_t given_back = 0;
    box.reset([&](std::uintptr_t start, std::size_t len, MMapInfo info) noexcept {
        std::printf("gives back %zu pages at %#zx, prot %d\n", len / PAGE, std::size_t{start}, info.prot);
        given_back += len;
    });
    must(given_back == 6 * PAGE, "what is left of the heap goes");
    must(box.at(program)->original && !box.at(heap), "the program stays");
}
