/* Lets a file play a SCSI disk for udev's programs: answers INQUIRY and ATA IDENTIFY (SG_IO) from what the file
   holds. Loaded before them by /etc/ld.so.preload of the directory that they run in. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/bsg.h>
#include <scsi/sg.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { INQUIRY_AT = 0, PAGE_00_AT = 256, PAGE_80_AT = 512, PAGE_83_AT = 768, IDENTIFY_AT = 1280, LENGTH = 1792 };

static int answer(int fd, struct sg_io_v4 *command) {
    const uint8_t *cdb = (const uint8_t *)(uintptr_t)command->request;
    uint8_t *sense = (uint8_t *)(uintptr_t)command->response;
    uint8_t *data = (uint8_t *)(uintptr_t)command->din_xferp;
    uint8_t file[LENGTH] = {0}, nothing[256] = {0};
    if (pread(fd, file, LENGTH, 0) < INQUIRY_AT + 36) {
        errno = ENOTTY;
        return -1;
    }
    int at = -1;
    int is_identify = (cdb[0] == 0xa1 && cdb[9] == 0xec) || (cdb[0] == 0x85 && cdb[14] == 0xec);
    if (is_identify)
        at = IDENTIFY_AT;
    else if (cdb[0] == 0x12 && !(cdb[1] & 1))
        at = INQUIRY_AT;
    else if (cdb[0] == 0x12 && cdb[2] == 0x00)
        at = PAGE_00_AT;
    else if (cdb[0] == 0x12 && cdb[2] == 0x80)
        at = PAGE_80_AT;
    else if (cdb[0] == 0x12 && cdb[2] == 0x83)
        at = PAGE_83_AT;
    memset(sense, 0, command->max_response_len);
    if (at < 0 || memcmp(file + at, nothing, 256) == 0) {
        /* CHECK CONDITION, ILLEGAL REQUEST. */
        sense[0] = 0x72;
        sense[1] = 0x05;
        command->device_status = 2;
        command->response_len = 8;
        return 0;
    }
    size_t room = LENGTH - at, length = command->din_xfer_len;
    memset(data, 0, length);
    memcpy(data, file + at, length < room ? length : room);
    if (is_identify) {
        /* The registers of ATA, as asked for. */
        sense[0] = 0x72;
        sense[8] = 0x09;
        sense[9] = 0x0c;
        command->response_len = 22;
    }
    return 0;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (request == SG_IO && *(int32_t *)argument == 'Q')
        return answer(fd, argument);
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, argument);
}
