/* What the decoder and the parser of the stub's libnvcuvid share: the picture that the one hands to the other. */
#ifndef STUB_NVCUVID_H
#define STUB_NVCUVID_H

#include <stddef.h>

enum { CODEC_H264 = 4, CODEC_HEVC = 8, CHROMA_420 = 1 };

typedef struct {
    int log2_max_frame_number_minus_4, order_count_type, log2_order_count_bits_minus_4;
    int sequence_and_picture[20], frame_number; /* as in the slice's header */
    int field_order_counts[2];
} h264_picture_t;

typedef struct {
    unsigned char sequence[23], log2_order_count_bits_minus_4;
    unsigned char more_of_sequence_and_picture[224];
    int picture_order_count;
} hevc_picture_t;

typedef struct {
    int width_in_macroblocks, height_in_macroblocks;
    int surface;
    int is_field, is_bottom_field, is_second_field;
    unsigned num_bytes;
    const unsigned char *bytes;
    unsigned num_slices;
    const unsigned *slice_offsets;
    int is_reference, is_intra;
    unsigned reserved[30];
    union {
        h264_picture_t h264;
        hevc_picture_t hevc;
        unsigned reserved[1024];
    } codec;
} picture_t;

_Static_assert(offsetof(picture_t, codec) == 184, "place of what is the codec's own");
_Static_assert(offsetof(h264_picture_t, field_order_counts) == 96, "place of the picture order counts");

#endif
