/* The parser of the stub's libnvcuvid, for FFmpeg's decoders by name (h264_cuvid). H.264 alone, whole frames, one in
 * each packet; enough of it is read to know the size, the colours, and the order in which pictures are shown. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stub_driver.h"
#include "stub_nvcuvid.h"

enum { NAL_SLICE = 1, NAL_IDR_SLICE = 5, NAL_SEQUENCE = 7 };
enum { PACKET_END_OF_STREAM = 1, PACKET_HAS_TIMESTAMP = 2 };
enum { MAX_WAITING = 4, MAX_HEADER_BYTES = 512 };

typedef struct {
    int codec;
    unsigned frame_rate[2];
    unsigned char is_progressive, luma_bit_depth_minus_8, chroma_bit_depth_minus_8, min_surfaces;
    unsigned coded_width, coded_height;
    int left, top, right, bottom; /* of what is shown */
    int chroma;
    unsigned bit_rate;
    int display_aspect[2];
    unsigned char is_full_range_and_format, primaries, transfer, matrix;
    unsigned num_more_bytes;
} video_format_t;

typedef struct {
    int surface, is_progressive, is_top_field_first, num_repeated_fields;
    int64_t timestamp;
} shown_picture_t;

typedef struct {
    int codec;
    unsigned num_surfaces, clock_rate, error_threshold, max_delay, reserved[5];
    void *user;
    int (*on_sequence)(void *user, video_format_t *format);
    int (*on_decode)(void *user, picture_t *picture);
    int (*on_show)(void *user, shown_picture_t *picture);
} parser_info_t;

typedef struct {
    unsigned long flags, num_bytes;
    const unsigned char *bytes;
    int64_t timestamp;
} packet_t;

_Static_assert(offsetof(parser_info_t, user) == 40, "place of the callbacks' argument");

typedef struct {
    long order; /* by which pictures are shown */
    shown_picture_t shown;
} waiting_t;

typedef struct {
    parser_info_t info;
    video_format_t format;
    int has_format, is_format_told;
    unsigned num_frame_number_bits, order_count_type, num_order_count_bits;
    long num_idrs, num_since_idr, num_parsed;
    long order_count;
    int is_intra;
    waiting_t waiting[MAX_WAITING + 1];
    int num_waiting;
} parser_t;

typedef struct {
    unsigned char bytes[MAX_HEADER_BYTES];
    size_t num_bits, position;
} bits_t;

/* The beginning of a NAL unit behind its first byte, without the bytes that keep it from looking like a start code. */
static void open_bits(bits_t *bits, const unsigned char *bytes, size_t num_bytes)
{
    size_t num_kept = 0, num_zeros = 0;

    for (size_t i = 1; i < num_bytes && num_kept < MAX_HEADER_BYTES; i++) {
        if (num_zeros >= 2 && bytes[i] == 3) {
            num_zeros = 0;
            continue;
        }
        num_zeros = bytes[i] ? 0 : num_zeros + 1;
        bits->bytes[num_kept++] = bytes[i];
    }
    bits->num_bits = num_kept * 8;
    bits->position = 0;
}

static unsigned take(bits_t *bits, unsigned num_bits)
{
    unsigned value = 0;

    for (; num_bits; num_bits--, bits->position++)
        value = value << 1 |
                (bits->position < bits->num_bits ? bits->bytes[bits->position / 8] >> (7 - bits->position % 8) & 1 : 0);
    return value;
}

static unsigned take_exp_golomb(bits_t *bits)
{
    unsigned num_zeros = 0;

    while (!take(bits, 1) && num_zeros < 31)
        num_zeros++;
    return (1u << num_zeros) - 1 + take(bits, num_zeros);
}

static int is_high_profile(unsigned profile)
{
    return profile == 100 || profile == 110 || profile == 122 || profile == 244 || profile == 44;
}

/* Sequence parameter set, ITU-T H.264 7.3.2.1.1; scaling lists and order count type 1 are not read. */
static void parse_sequence(parser_t *parser, bits_t *bits)
{
    video_format_t format = {.codec = CODEC_H264, .chroma = CHROMA_420, .frame_rate = {25, 1}, .min_surfaces = 8};
    const unsigned profile = take(bits, 8);
    unsigned width, height;

    take(bits, 16);
    take_exp_golomb(bits);
    if (is_high_profile(profile)) {
        format.chroma = (int)take_exp_golomb(bits);
        format.luma_bit_depth_minus_8 = (unsigned char)take_exp_golomb(bits);
        format.chroma_bit_depth_minus_8 = (unsigned char)take_exp_golomb(bits);
        take(bits, 2);
    }
    parser->num_frame_number_bits = take_exp_golomb(bits) + 4;
    parser->order_count_type = take_exp_golomb(bits);
    if (!parser->order_count_type)
        parser->num_order_count_bits = take_exp_golomb(bits) + 4;
    take_exp_golomb(bits);
    take(bits, 1);
    width = 16 * (take_exp_golomb(bits) + 1);
    height = 16 * (take_exp_golomb(bits) + 1);
    format.is_progressive = (unsigned char)take(bits, 1); /* or fields might follow, which are not parsed */
    take(bits, 1);
    format.coded_width = width;
    format.coded_height = height;
    format.right = (int)width;
    format.bottom = (int)height;
    if (take(bits, 1)) { /* cropping, in units of two pixels */
        format.left = 2 * (int)take_exp_golomb(bits);
        format.right -= 2 * (int)take_exp_golomb(bits);
        format.top = 2 * (int)take_exp_golomb(bits);
        format.bottom -= 2 * (int)take_exp_golomb(bits);
    }
    format.display_aspect[0] = format.right - format.left;
    format.display_aspect[1] = format.bottom - format.top;
    format.primaries = format.transfer = format.matrix = 2; /* unspecified */
    if (take(bits, 1)) { /* usability information, up to the colours */
        if (take(bits, 1) && take(bits, 8) == 255)
            take(bits, 32);
        if (take(bits, 1))
            take(bits, 1);
        if (take(bits, 1)) {
            take(bits, 3);
            format.is_full_range_and_format = (unsigned char)(5 | take(bits, 1) << 3);
            if (take(bits, 1)) {
                format.primaries = (unsigned char)take(bits, 8);
                format.transfer = (unsigned char)take(bits, 8);
                format.matrix = (unsigned char)take(bits, 8);
            }
        }
    }
    parser->is_format_told &= !memcmp(&format, &parser->format, sizeof format);
    parser->format = format;
    parser->has_format = 1;
}

/* Order counts as in 8.2.1 of the standard, for frames: types 0 and 2. */
static void count_picture(parser_t *parser, bits_t *bits, int is_idr)
{
    const long period = 1L << parser->num_order_count_bits;
    long low;

    parser->is_intra = take_exp_golomb(bits) % 5 == 2; /* by the first slice's type */
    take_exp_golomb(bits); /* picture parameter set */
    take(bits, parser->num_frame_number_bits);
    if (is_idr) {
        take_exp_golomb(bits);
        parser->num_idrs++;
        parser->num_since_idr = parser->order_count = 0;
    } else {
        parser->num_since_idr++;
    }
    if (parser->order_count_type) {
        parser->order_count = 2 * parser->num_since_idr;
        return;
    }
    low = take(bits, parser->num_order_count_bits);
    /* The count nearest to the one before. B-frames count here too, which the standard does not let them. */
    parser->order_count += ((low - parser->order_count) % period + period + period / 2) % period - period / 2;
}

static void show_first(parser_t *parser)
{
    int first = 0;

    for (int i = 1; i < parser->num_waiting; i++)
        if (parser->waiting[i].order < parser->waiting[first].order)
            first = i;
    parser->info.on_show(parser->info.user, &parser->waiting[first].shown);
    parser->waiting[first] = parser->waiting[--parser->num_waiting];
}

static void decode(parser_t *parser, const packet_t *packet)
{
    picture_t picture = {.surface = (int)(parser->num_parsed++ % parser->info.num_surfaces)};
    h264_picture_t *h264 = &picture.codec.h264;

    picture.num_bytes = (unsigned)packet->num_bytes;
    picture.bytes = packet->bytes;
    picture.is_intra = parser->is_intra;
    h264->order_count_type = (int)parser->order_count_type;
    h264->log2_order_count_bits_minus_4 = (int)parser->num_order_count_bits - 4;
    h264->field_order_counts[0] = h264->field_order_counts[1] = (int)parser->order_count;
    parser->info.on_decode(parser->info.user, &picture);
    parser->waiting[parser->num_waiting++] = (waiting_t){
        .order = (parser->num_idrs << 32) + parser->order_count,
        .shown = {.surface = picture.surface,
                  .is_progressive = 1,
                  .timestamp = packet->flags & PACKET_HAS_TIMESTAMP ? packet->timestamp : 0},
    };
    if (parser->num_waiting > MAX_WAITING)
        show_first(parser);
}

static void parse_unit(parser_t *parser, const packet_t *packet, const unsigned char *bytes, size_t num_bytes)
{
    const int type = num_bytes ? bytes[0] & 31 : 0;
    bits_t bits;

    open_bits(&bits, bytes, num_bytes);
    if (type == NAL_SEQUENCE)
        parse_sequence(parser, &bits);
    if ((type != NAL_SLICE && type != NAL_IDR_SLICE) || !parser->has_format || take_exp_golomb(&bits))
        return; /* or a slice that is not its picture's first */
    if (!parser->is_format_told) {
        const int num_surfaces = parser->info.on_sequence(parser->info.user, &parser->format);
        parser->is_format_told = 1;
        if (num_surfaces > 1)
            parser->info.num_surfaces = (unsigned)num_surfaces;
    }
    count_picture(parser, &bits, type == NAL_IDR_SLICE);
    decode(parser, packet);
}

STUB_API int cuvidCreateVideoParser(parser_t **result, const parser_info_t *info)
{
    BEGIN_CALL();
    if (info->codec != CODEC_H264)
        return CU_NOT_SUPPORTED;
    if (!info->num_surfaces)
        return CU_INVALID_VALUE;
    *result = calloc(1, sizeof **result);
    if (!*result)
        return CU_OUT_OF_MEMORY;
    (*result)->info = *info;
    return CU_OK;
}

STUB_API int cuvidParseVideoData(parser_t *parser, const packet_t *packet)
{
    const unsigned char *bytes = packet->bytes;
    size_t begin = 0;

    BEGIN_CALL_IN_CONTEXT();
    for (size_t i = 0; bytes && i <= packet->num_bytes; i++) {
        const int is_start = i + 3 <= packet->num_bytes && !bytes[i] && !bytes[i + 1] && bytes[i + 2] == 1;
        if (begin && (is_start || i == packet->num_bytes))
            parse_unit(parser, packet, bytes + begin, i - begin);
        if (is_start)
            begin = i + 3;
    }
    while (packet->flags & PACKET_END_OF_STREAM && parser->num_waiting)
        show_first(parser);
    return CU_OK;
}

STUB_API int cuvidDestroyVideoParser(parser_t *parser)
{
    BEGIN_CALL();
    free(parser);
    return CU_OK;
}
