/* libnvidia-ml.so.1 on paper, beneath the real nvidia-ml-py: $PAPER_GPUS idle H200.
   PAPER_NVML="nvmlDeviceGetTemperature=3 nvmlDeviceGetTotalEccErrors=999" has a getter return that code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef char *Device; /* an address in gpus */
typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} Pci;

enum { FINE = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, MOST = 16, LINKS = 18 };
static char gpus[MOST];

static int count(void) {
    const char *said = getenv("PAPER_GPUS");
    return said ? atoi(said) : 1;
}

static unsigned long long memory(void) {
    const char *said = getenv("PAPER_MEMORY");
    return said ? strtoull(said, NULL, 10) : 150754820096ULL;
}

static int index_of(Device device) { return (int)(device - gpus); }

static Result planted(const char *getter) {
    const char *said = getenv("PAPER_NVML");
    size_t length = strlen(getter);
    for (const char *at = said ? strstr(said, getter) : NULL; at; at = strstr(at + 1, getter))
        if (at[length] == '=' && (at == said || at[-1] == ' ')) return atoi(at + length + 1);
    return FINE;
}

#define PLANTED do { Result code = planted(__func__); if (code) return code; } while (0)

static Result text(char *to, unsigned length, const char *what) {
    snprintf(to, length, "%s", what);
    return FINE;
}

static void uuid_of(int gpu, char *to) {
    to += sprintf(to, "GPU-");
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *to++ = '-';
        to += sprintf(to, "%02x", (0xa0 + gpu + i) & 0xff);
    }
}

Result nvmlInit_v2(void) { PLANTED; return FINE; }
Result nvmlInitWithFlags(unsigned flags) { PLANTED; return FINE; }
Result nvmlShutdown(void) { return FINE; }

const char *nvmlErrorString(Result code) {
    switch (code) {
    case INVALID: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case 9: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    default: return "Unknown Error";
    }
}

Result nvmlDeviceGetCount_v2(unsigned *found) { PLANTED; *found = count(); return FINE; }
Result nvmlSystemGetDriverVersion(char *to, unsigned length) { PLANTED; return text(to, length, "580.159.04"); }
Result nvmlSystemGetCudaDriverVersion_v2(int *version) { PLANTED; *version = 13000; return FINE; }

Result nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    PLANTED;
    if ((int)index >= count()) return INVALID;
    *device = gpus + index;
    return FINE;
}

Result nvmlDeviceGetHandleByUUID(const char *uuid, Device *device) {
    PLANTED;
    char mine[80];
    for (int i = 0; i < count(); i++) {
        uuid_of(i, mine);
        if (strcmp(mine, uuid) == 0) {
            *device = gpus + i;
            return FINE;
        }
    }
    return NOT_FOUND;
}

Result nvmlDeviceGetHandleByPciBusId_v2(const char *bus, Device *device) {
    PLANTED;
    const char *colon = strchr(bus, ':');
    long index = colon ? strtol(colon + 1, NULL, 16) - 0x1b : -1;
    if (index < 0 || index >= count()) return NOT_FOUND;
    *device = gpus + index;
    return FINE;
}

Result nvmlDeviceGetUUID(Device device, char *to, unsigned length) { PLANTED; uuid_of(index_of(device), to); return FINE; }
Result nvmlDeviceGetName(Device device, char *to, unsigned length) { PLANTED; return text(to, length, "NVIDIA H200"); }
Result nvmlDeviceGetVbiosVersion(Device device, char *to, unsigned length) { PLANTED; return text(to, length, "96.00.A0"); }

Result nvmlDeviceGetSerial(Device device, char *to, unsigned length) {
    PLANTED;
    snprintf(to, length, "16500%d", index_of(device));
    return FINE;
}

Result nvmlDeviceGetPciInfo_v3(Device device, Pci *to) {
    PLANTED;
    memset(to, 0, sizeof *to);
    sprintf(to->busId, "00000000:%02X:00.0", 0x1b + index_of(device));
    sprintf(to->busIdLegacy, "0000:%02X:00.0", 0x1b + index_of(device));
    to->bus = 0x1b + index_of(device);
    to->pciDeviceId = 0x233510de;
    return FINE;
}

Result nvmlDeviceGetMemoryInfo(Device device, unsigned long long *total_free_used) {
    PLANTED;
    total_free_used[0] = memory();
    total_free_used[1] = memory();
    total_free_used[2] = 0;
    return FINE;
}

Result nvmlDeviceGetMigMode(Device device, unsigned *now, unsigned *next) { PLANTED; *now = *next = 0; return FINE; }
Result nvmlDeviceGetComputeMode(Device device, int *mode) { PLANTED; *mode = 0; return FINE; }
Result nvmlDeviceGetPersistenceMode(Device device, int *mode) { PLANTED; *mode = 1; return FINE; }
Result nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *found, void *to) { PLANTED; *found = 0; return FINE; }
Result nvmlDeviceGetComputeRunningProcesses(Device device, unsigned *found, void *to) { PLANTED; *found = 0; return FINE; }
Result nvmlDeviceGetEccMode(Device device, int *now, int *next) { PLANTED; *now = *next = 1; return FINE; }

Result nvmlDeviceGetTotalEccErrors(Device device, int type, int counter, unsigned long long *found) {
    PLANTED;
    *found = 0;
    return FINE;
}

Result nvmlDeviceGetRemappedRows(Device device, unsigned *good, unsigned *bad, unsigned *pending, unsigned *failed) {
    PLANTED;
    *good = *bad = *pending = *failed = 0;
    return FINE;
}

Result nvmlDeviceGetNvLinkState(Device device, unsigned link, int *up) {
    PLANTED;
    if (link >= LINKS) return INVALID;
    *up = count() > 1;
    return FINE;
}

Result nvmlDeviceGetNvLinkVersion(Device device, unsigned link, unsigned *version) { PLANTED; *version = 4; return FINE; }

Result nvmlDeviceGetNvLinkRemotePciInfo_v2(Device device, unsigned link, Pci *to) {
    PLANTED;
    memset(to, 0, sizeof *to);
    strcpy(to->busId, "00000000:05:00.0");
    return FINE;
}

Result nvmlDeviceGetNvLinkRemoteDeviceType(Device device, unsigned link, int *type) { PLANTED; *type = 1; return FINE; }
Result nvmlDeviceGetGpuFabricInfoV(Device device, void *to) { PLANTED; return NOT_SUPPORTED; }

static unsigned clock_of(int domain) { return domain == 2 ? 3201 : 1980; } /* MHz; 2: memory */
Result nvmlDeviceGetClockInfo(Device device, int domain, unsigned *clock) { PLANTED; *clock = clock_of(domain); return FINE; }
Result nvmlDeviceGetMaxClockInfo(Device device, int domain, unsigned *clock) { PLANTED; *clock = clock_of(domain); return FINE; }
Result nvmlDeviceGetCurrentClocksEventReasons(Device device, unsigned long long *why) { PLANTED; *why = 0; return FINE; }
Result nvmlDeviceGetTemperature(Device device, int sensor, unsigned *celsius) { PLANTED; *celsius = 40; return FINE; }
Result nvmlDeviceGetPowerUsage(Device device, unsigned *milliwatts) { PLANTED; *milliwatts = 120000; return FINE; }
Result nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned *milliwatts) { PLANTED; *milliwatts = 700000; return FINE; }
Result nvmlDeviceGetPowerManagementDefaultLimit(Device device, unsigned *milliwatts) { PLANTED; *milliwatts = 700000; return FINE; }
