// The books of a guest from C++: a handle that is given back, a host that is a lambda, and
// regions that a range-based for goes through.
#include <addrspace.h>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr std::uint64_t page = 4096;

using Host = std::function<int(const addrspace_update &)>;

// What is thrown by a host must not leave it; see addrspace.h.
int call(const addrspace_update *update, void *host) noexcept {
    return (*static_cast<const Host *>(host))(*update);
}

class Space {
public:
    Space(std::uint64_t start, std::uint64_t len) {
        addrspace *made = nullptr;
        const addrspace_status status = addrspace_create(start, len, page, &made);
        if (status != ADDRSPACE_OK)
            throw std::runtime_error(addrspace_status_text(status));
        space_.reset(made);
    }

    std::uint64_t map(std::uint64_t len, std::uint32_t prot, Host host) {
        addrspace_mapping memory = ADDRSPACE_MAPPING_INIT;
        memory.prot = prot;
        std::uint64_t addr = 0;
        check(addrspace_map_any(space_.get(), len, &memory, nullptr, call, &host, &addr));
        return addr;
    }

    void unmap(std::uint64_t addr, std::uint64_t len, Host host) {
        check(addrspace_unmap(space_.get(), addr, len, call, &host));
    }

    std::vector<addrspace_region> regions() const {
        std::vector<addrspace_region> all;
        addrspace_cursor cursor = ADDRSPACE_CURSOR_INIT;
        addrspace_region region = ADDRSPACE_REGION_INIT;
        while (addrspace_next_region(space_.get(), &cursor, &region) == ADDRSPACE_OK)
            all.push_back(region);
        return all;
    }

private:
    void check(addrspace_status status) const {
        if (status == ADDRSPACE_OK)
            return;
        char text[160];
        addrspace_error_message(space_.get(), text, sizeof text);
        throw std::runtime_error(text);
    }

    struct Destroy {
        void operator()(addrspace *space) const { addrspace_destroy(space); }
    };
    std::unique_ptr<addrspace, Destroy> space_;
};

} // namespace

int main() {
    Space space(0x10000, 16 * page);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> told;
    const Host note = [&told](const addrspace_update &update) {
        told.emplace_back(update.start, update.last);
        return 0;
    };

    const std::uint64_t heap = space.map(4 * page, 3, note);
    space.unmap(heap + page, page, note);
    for (const auto &change : told)
        std::printf("told %#llx..=%#llx\n", static_cast<unsigned long long>(change.first),
                    static_cast<unsigned long long>(change.second));
    for (const addrspace_region &region : space.regions())
        std::printf("mapped %#llx..=%#llx\n", static_cast<unsigned long long>(region.start),
                    static_cast<unsigned long long>(region.last));
    try {
        space.unmap(heap + 1, page, note);
    } catch (const std::runtime_error &error) {
        std::printf("refused: %s\n", error.what());
        return 0;
    }
    return 1;
}
