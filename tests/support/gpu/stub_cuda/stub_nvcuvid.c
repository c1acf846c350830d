/* A stand-in for NVIDIA's libnvcuvid.so.1, for tests on machines without a GPU.
 *
 * It decodes nothing: each picture comes out as a pattern that spells its number. In H.264 and HEVC that comes of the low
 * bits of its picture order count, which stand in the stream, so that it is the same wherever decoding began: 0 for an
 * IDR picture and one more for each picture shown after it, up to a power of two that the encoder chose (32 or more
 * with x264, 256 with x265), then 0 again. Elsewhere it is the place in decoding order. The pattern is written down once
 * more in tests/support/gpu/stub_planes.py. What is supported is modelled on an H100, whose decoder does not know H.264 of
 * 10 bits; AV1, which FFmpeg would not ask it for, is left out.
 *
 * Environment:
 *   STUB_CUDA_UNSUPPORTED=h264,vp9   these codecs are not supported either
 *   STUB_CUDA_MIN_SIZE=144           smallest width and height in pixels, 16 otherwise
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stub_driver.h"
#include "stub_nvcuvid.h"

enum { NUM_CODECS = 11, FORMAT_NV12 = 0, FORMAT_P016 = 1 };
enum { MAX_SURFACES = 32, POISON = 0xEE };

static const char *const CODEC_NAMES[] = {"mpeg1", "mpeg2",    "mpeg4", "vc1", "h264", "jpeg",
                                          "h264_svc", "h264_mvc", "hevc",  "vp8", "vp9"};

typedef struct {
    int codec, chroma;
    unsigned bit_depth_minus_8, reserved1[3];
    unsigned char is_supported, num_engines;
    unsigned short output_formats; /* bit mask */
    unsigned max_width, max_height, max_macroblocks;
    unsigned short min_width, min_height;
    unsigned reserved2[11];
} decoder_caps_t;

typedef struct {
    short left, top, right, bottom;
} rectangle_t;

typedef struct {
    unsigned long width, height, num_decode_surfaces;
    int codec, chroma;
    unsigned long flags, bit_depth_minus_8, intra_only, max_width, max_height, reserved1;
    rectangle_t display_area;
    int output_format, deinterlacing;
    unsigned long target_width, target_height, num_output_surfaces;
    void *context_lock;
    rectangle_t target_area;
    unsigned long reserved2[5];
} decoder_info_t;

_Static_assert(sizeof(decoder_caps_t) == 88, "size of the struct of capabilities");
_Static_assert(offsetof(decoder_info_t, output_format) == 88, "place of the output format");

typedef struct {
    decoder_info_t info;
    unsigned bytes_per_sample, pitch;
    unsigned long num_luma_rows; /* even: what chroma begins behind */
    size_t num_bytes;            /* of an output surface */
    int num_decoded;
    int numbers[MAX_SURFACES]; /* which picture each decode surface holds */
    unsigned char *outputs[MAX_SURFACES];
    int is_mapped[MAX_SURFACES];
} decoder_t;

static int is_in_list(const char *list, const char *name)
{
    const size_t length = strlen(name);

    while (list && *list) {
        if (!strncmp(list, name, length) && (list[length] == ',' || !list[length]))
            return 1;
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return 0;
}

static int is_supported(int codec, int chroma, unsigned bit_depth_minus_8)
{
    if (codec < 0 || codec >= NUM_CODECS || chroma != CHROMA_420 || bit_depth_minus_8 > 4)
        return 0;
    if (codec == CODEC_H264 && bit_depth_minus_8)
        return 0;
    return !is_in_list(getenv("STUB_CUDA_UNSUPPORTED"), CODEC_NAMES[codec]);
}

STUB_API int cuvidGetDecoderCaps(decoder_caps_t *caps)
{
    const char *min_size = getenv("STUB_CUDA_MIN_SIZE");

    BEGIN_CALL_IN_CONTEXT();
    memset((char *)caps + offsetof(decoder_caps_t, is_supported), 0,
           sizeof *caps - offsetof(decoder_caps_t, is_supported));
    if (!is_supported(caps->codec, caps->chroma, caps->bit_depth_minus_8))
        return CU_OK;
    caps->is_supported = 1;
    caps->num_engines = 7;
    caps->output_formats = 1 << FORMAT_NV12 | 1 << FORMAT_P016;
    caps->max_width = caps->max_height = 8192;
    caps->max_macroblocks = 8192 * 8192 / 256;
    caps->min_width = caps->min_height = (unsigned short)(min_size && *min_size ? atoi(min_size) : 16);
    return CU_OK;
}

STUB_API int cuvidDestroyDecoder(decoder_t *decoder)
{
    BEGIN_CALL_IN_CONTEXT();
    for (int i = 0; i < MAX_SURFACES; i++)
        free(decoder->outputs[i]);
    free(decoder);
    return CU_OK;
}

STUB_API int cuvidCreateDecoder(decoder_t **result, const decoder_info_t *info)
{
    const unsigned unit = STUB_PITCH_ALIGNMENT;
    decoder_t *decoder;

    BEGIN_CALL_IN_CONTEXT();
    if (!is_supported(info->codec, info->chroma, (unsigned)info->bit_depth_minus_8))
        return CU_NOT_SUPPORTED;
    if (info->num_decode_surfaces > MAX_SURFACES || info->num_output_surfaces > MAX_SURFACES ||
        info->output_format < FORMAT_NV12 || info->output_format > FORMAT_P016)
        return CU_INVALID_VALUE;
    decoder = calloc(1, sizeof *decoder);
    if (!decoder)
        return CU_OUT_OF_MEMORY;
    decoder->info = *info;
    decoder->bytes_per_sample = info->output_format == FORMAT_P016 ? 2 : 1;
    decoder->pitch = ((unsigned)info->target_width * decoder->bytes_per_sample + unit - 1) / unit * unit;
    decoder->num_luma_rows = (info->target_height + 1) / 2 * 2;
    decoder->num_bytes = (size_t)decoder->pitch * (decoder->num_luma_rows / 2 * 3);
    for (unsigned long i = 0; i < info->num_output_surfaces; i++) {
        decoder->outputs[i] = aligned_alloc(unit, decoder->num_bytes); /* a whole number of pitches */
        if (!decoder->outputs[i])
            return CU_OUT_OF_MEMORY;
        memset(decoder->outputs[i], POISON, decoder->num_bytes);
    }
    *result = decoder;
    return CU_OK;
}

static int low_bits(int count, int log2_bits_minus_4)
{
    return count & ((1 << (log2_bits_minus_4 + 4)) - 1);
}

static int number_of(const decoder_t *decoder, const picture_t *picture)
{
    const h264_picture_t *h264 = &picture->codec.h264;
    const hevc_picture_t *hevc = &picture->codec.hevc;
    const int *counts = h264->field_order_counts;

    if (decoder->info.codec == CODEC_HEVC)
        return low_bits(hevc->picture_order_count, hevc->log2_order_count_bits_minus_4);
    if (decoder->info.codec != CODEC_H264)
        return decoder->num_decoded;
    int count = counts[0] < counts[1] ? counts[0] : counts[1]; /* of the field that is there, if only one is */
    /* Without reordering (type 2) nothing stands in the stream: FFmpeg counts on from the IDR picture. */
    return (h264->order_count_type ? count : low_bits(count, h264->log2_order_count_bits_minus_4)) / 2;
}

STUB_API int cuvidDecodePicture(decoder_t *decoder, const picture_t *picture)
{
    BEGIN_CALL_IN_CONTEXT();
    if (picture->surface < 0 || picture->surface >= (int)decoder->info.num_decode_surfaces || !picture->num_bytes)
        return CU_INVALID_VALUE;
    decoder->numbers[picture->surface] = number_of(decoder, picture);
    if (!picture->is_second_field)
        decoder->num_decoded++;
    return CU_OK;
}

static int wrapped(long value, int period)
{
    return (int)((value % period + period) % period);
}

static void put(const decoder_t *decoder, unsigned char *row, long i, int value, long x, long y)
{
    if (decoder->bytes_per_sample == 1)
        row[i] = (unsigned char)value;
    else /* 10 bits in the upper end of 16 */
        ((uint16_t *)row)[i] = (uint16_t)((value * 4 + wrapped(x + y, 4)) << 6);
}

/* The row and the column that an odd size lacks to an even one stay poisoned. */
static void draw(const decoder_t *decoder, int number, unsigned char *surface)
{
    const long width = (long)decoder->info.target_width, height = (long)decoder->info.target_height;
    unsigned char *chroma = surface + decoder->num_luma_rows * decoder->pitch;

    for (long y = 0; y < height; y++)
        for (long x = 0; x < width; x++)
            put(decoder, surface + y * decoder->pitch, x, 16 + wrapped(37L * number + x + 3 * y, 220), x, y);
    for (long y = 0; y < (height + 1) / 2; y++)
        for (long x = 0; x < (width + 1) / 2; x++) {
            unsigned char *row = chroma + y * decoder->pitch;
            put(decoder, row, 2 * x, 16 + wrapped(53L * number + 2 * x + y, 225), x, y);
            put(decoder, row, 2 * x + 1, 16 + wrapped(101L * number + 96 + x + 5 * y, 225), x, y);
        }
}

STUB_API int cuvidMapVideoFrame64(decoder_t *decoder, int surface, uint64_t *pointer, unsigned *pitch, void *processing)
{
    BEGIN_CALL_IN_CONTEXT();
    (void)processing;
    if (surface < 0 || surface >= (int)decoder->info.num_decode_surfaces)
        return CU_INVALID_VALUE;
    for (unsigned long i = 0; i < decoder->info.num_output_surfaces; i++)
        if (!decoder->is_mapped[i]) {
            decoder->is_mapped[i] = 1;
            draw(decoder, decoder->numbers[surface], decoder->outputs[i]);
            *pointer = (uint64_t)(uintptr_t)decoder->outputs[i];
            *pitch = decoder->pitch;
            return CU_OK;
        }
    return CU_MAP_FAILED;
}

STUB_API int cuvidUnmapVideoFrame64(decoder_t *decoder, uint64_t pointer)
{
    BEGIN_CALL_IN_CONTEXT();
    for (unsigned long i = 0; i < decoder->info.num_output_surfaces; i++)
        if (decoder->is_mapped[i] && (uint64_t)(uintptr_t)decoder->outputs[i] == pointer) {
            memset(decoder->outputs[i], POISON, decoder->num_bytes); /* whoever reads it later sees no picture */
            decoder->is_mapped[i] = 0;
            return CU_OK;
        }
    return CU_INVALID_VALUE;
}

NOT_SUPPORTED(cuvidGetDecodeStatus)
NOT_SUPPORTED(cuvidReconfigureDecoder)
NOT_SUPPORTED(cuvidCtxLockCreate)
NOT_SUPPORTED(cuvidCtxLockDestroy)
NOT_SUPPORTED(cuvidCtxLock)
NOT_SUPPORTED(cuvidCtxUnlock)
NOT_SUPPORTED(cuvidCreateVideoSource)
NOT_SUPPORTED(cuvidCreateVideoSourceW)
NOT_SUPPORTED(cuvidDestroyVideoSource)
NOT_SUPPORTED(cuvidSetVideoSourceState)
NOT_SUPPORTED(cuvidGetVideoSourceState)
NOT_SUPPORTED(cuvidGetSourceVideoFormat)
NOT_SUPPORTED(cuvidGetSourceAudioFormat)
