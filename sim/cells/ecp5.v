// Cells of ECP5.

// Yosys's own model is a tree of multiplexers, which takes a compiler far longer.
module LUT4(input A, B, C, D, output Z);
    parameter [15:0] INIT = 0;
    wire [15:0] chosen = INIT >> {D, C, B, A};
    assign Z = chosen[0];
endmodule

// The block RAM, for which Yosys has no simulation model. Written from how Yosys and nextpnr use the
// cells. What that leaves open is answered with wrong data, so that a design that depends on it
// fails.

// 1024 words of 18 bits: two bytes of 9, of which the narrow widths use the low 8 bits.
//
// With WIDTH_A = 36 port A only writes and port B only reads, each with the other's data pins for
// half of its own: di_b is the upper half of what A writes, do_a the lower half of what B reads.
module ECP5_BLOCK_RAM #(
    parameter integer WIDTH_A = 18, WIDTH_B = 18,
    parameter OUTREG_A = 0, OUTREG_B = 0, ASYNC = 0,
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL",
    parameter [20479:0] INIT = 0
) (
    input clk_a, ce_a, oce_a, we_a, rst_a,
    input [13:0] ad_a,
    input [17:0] di_a,
    output [17:0] do_a,
    input clk_b, ce_b, oce_b, we_b, rst_b,
    input [13:0] ad_b,
    input [17:0] di_b,
    output [17:0] do_b
);
    localparam WIDE = WIDTH_A == 36;

    reg [17:0] mem [0:1023];
    integer i;
    initial for (i = 0; i < 1024; i = i + 1) mem[i] = INIT[20 * i +: 18];

    // Bits of a word that an access covers.
    function [17:0] covered(input integer width, input [13:0] ad);
        case (width)
            1: covered = 18'h1 << (9 * ad[3] + ad[2:0]);
            2: covered = 18'h3 << (9 * ad[3] + 2 * ad[2:1]);
            4: covered = 18'hf << (9 * ad[3] + 4 * ad[2]);
            9: covered = 18'h1ff << (9 * ad[3]);
            default: covered = 18'h3ffff;
        endcase
    endfunction

    // The same, of those that are written: two bytes have an enable each.
    function [17:0] written(input integer width, input [13:0] ad);
        written = width == 18 ? {{9{ad[1]}}, {9{ad[0]}}} : covered(width, ad);
    endfunction

    // Data on their way into a word, in every place where the access may cover it.
    function [17:0] spread(input integer width, input [17:0] data);
        case (width)
            1: spread = {1'b0, {8{data[0]}}, 1'b0, {8{data[0]}}};
            2: spread = {1'b0, {4{data[1:0]}}, 1'b0, {4{data[1:0]}}};
            4: spread = {1'b0, {2{data[3:0]}}, 1'b0, {2{data[3:0]}}};
            9: spread = {2{data[8:0]}};
            default: spread = data;
        endcase
    endfunction

    // Data on their way out of a word.
    function [17:0] picked(input integer width, input [13:0] ad, input [17:0] word);
        case (width)
            1: picked = (word >> (9 * ad[3] + ad[2:0])) & 18'h1;
            2: picked = (word >> (9 * ad[3] + 2 * ad[2:1])) & 18'h3;
            4: picked = (word >> (9 * ad[3] + 4 * ad[2])) & 18'hf;
            9: picked = (word >> (9 * ad[3])) & 18'h1ff;
            default: picked = word;
        endcase
    endfunction

    // Where port A is wide, the byte enables alone say what is written.
    wire writes_a = ce_a && (WIDE || we_a), writes_b = !WIDE && ce_b && we_b;
    wire [9:0] word_a = WIDE ? {ad_a[13:5], 1'b0} : ad_a[13:4], word_b = ad_b[13:4];
    wire [17:0] mask_a = WIDE ? {{9{ad_a[1]}}, {9{ad_a[0]}}} : written(WIDTH_A, ad_a);
    wire [17:0] mask_b = WIDE ? {{9{ad_a[3]}}, {9{ad_a[2]}}} : written(WIDTH_B, ad_b);
    wire [17:0] new_a = (mem[word_a] & ~mask_a) | (spread(WIDTH_A, di_a) & mask_a);
    wire [17:0] new_b = (mem[word_b] & ~mask_b) | (spread(WIDTH_B, di_b) & mask_b);
    wire [17:0] new_high = (mem[word_a | 10'd1] & ~mask_b) | (di_b & mask_b);
    generate
        if (WIDE) begin : wide
            always @(posedge clk_a) if (writes_a) mem[word_a] <= new_a;
            always @(posedge clk_a) if (writes_a) mem[word_a | 10'd1] <= new_high;
        end else begin : ordinary
            always @(posedge clk_a) if (writes_a) mem[word_a] <= new_a;
            always @(posedge clk_b) if (writes_b) mem[word_b] <= new_b;
        end
    endgenerate

    // Words as a port finds them: bits that the other one is writing are anything, here inverted.
    wire [9:0] low = {ad_b[13:5], 1'b0}, high = {ad_b[13:5], 1'b1};
    wire meets = writes_a && ad_a[13:5] == ad_b[13:5];
    wire [17:0] seen_low = mem[low] ^ (meets ? mask_a : 18'd0);
    wire [17:0] seen_high = mem[high] ^ (meets ? mask_b : 18'd0);
    wire [17:0] seen_a = mem[word_a] ^ (writes_b && word_a == word_b ? mask_b : 18'd0);
    wire [17:0] seen_b = WIDE ? (word_b[0] ? seen_high : seen_low)
        : mem[word_b] ^ (writes_a && word_a == word_b ? mask_a : 18'd0);

    wire [17:0] out_a = WIDE ? seen_low
        : picked(WIDTH_A, ad_a, writes_a && WRITEMODE_A == "WRITETHROUGH" ? new_a : seen_a);
    wire [17:0] out_b = WIDTH_B == 36 ? seen_high
        : picked(WIDTH_B, ad_b, writes_b && WRITEMODE_B == "WRITETHROUGH" ? new_b : seen_b);
    wire reads_b = ce_b && !(writes_b && WRITEMODE_B == "NORMAL");
    wire reads_a = WIDE ? reads_b : ce_a && !(writes_a && WRITEMODE_A == "NORMAL");

    // The latch that an access ends in, and the register that may stand behind it.
    wire clk_o = WIDE ? clk_b : clk_a, rst_o = WIDE ? rst_b : rst_a, oce_o = WIDE ? oce_b : oce_a;
    wire clear_a = ASYNC && rst_o, clear_b = ASYNC && rst_b;
    reg [17:0] latch_a = 0, latch_b = 0, reg_a = 0, reg_b = 0;
    always @(posedge clk_o, posedge clear_a)
        if (clear_a) {latch_a, reg_a} <= 0;
        else begin
            if (reads_a) latch_a <= out_a;
            if (oce_o) reg_a <= latch_a;
            if (rst_o) {latch_a, reg_a} <= 0;
        end
    always @(posedge clk_b, posedge clear_b)
        if (clear_b) {latch_b, reg_b} <= 0;
        else begin
            if (reads_b) latch_b <= out_b;
            if (oce_b) reg_b <= latch_b;
            if (rst_b) {latch_b, reg_b} <= 0;
        end
    assign do_a = (WIDE ? OUTREG_B : OUTREG_A) ? reg_a : latch_a;
    assign do_b = OUTREG_B ? reg_b : latch_b;
endmodule

module DP16KD(
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9,
    input DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5,
    input ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9,
    input DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5,
    input ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9,
    output DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9,
    output DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18, REGMODE_A = "NOREG", REGMODE_B = "NOREG";
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
    parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000", CLKAMUX = "CLKA", CLKBMUX = "CLKB";
    parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", GSR = "ENABLED";
    parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0;
    parameter [319:0] INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0;
    parameter [319:0] INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0;
    parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0;
    parameter [319:0] INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0;
    parameter [319:0] INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0;
    parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0;
    parameter [319:0] INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0;
    parameter [319:0] INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0;
    parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0;
    parameter [319:0] INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0;
    parameter [319:0] INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0;
    parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0;
    parameter [319:0] INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0;
    parameter [319:0] INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0;
    parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;

    // A decoder matches the three selects with three digits.
    wire cs_a = {CSA2, CSA1, CSA0} == {CSDECODE_A[16], CSDECODE_A[8], CSDECODE_A[0]};
    wire cs_b = {CSB2, CSB1, CSB0} == {CSDECODE_B[16], CSDECODE_B[8], CSDECODE_B[0]};

    ECP5_BLOCK_RAM #(
        .WIDTH_A(DATA_WIDTH_A), .WIDTH_B(DATA_WIDTH_B),
        .OUTREG_A(REGMODE_A == "OUTREG"), .OUTREG_B(REGMODE_B == "OUTREG"),
        .ASYNC(RESETMODE == "ASYNC"), .WRITEMODE_A(WRITEMODE_A), .WRITEMODE_B(WRITEMODE_B),
        .INIT({
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C,
        INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34,
        INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C,
        INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
        INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C,
        INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14,
        INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C,
        INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04,
        INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00})
    ) ram (
        .clk_a(CLKAMUX == "INV" ? ~CLKA : CLKA), .ce_a(CEA && cs_a), .oce_a(OCEA), .we_a(WEA),
        .rst_a(RSTA),
        .ad_a({ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5,
            ADA4, ADA3, ADA2, ADA1, ADA0}),
        .di_a({DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9,
            DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0}),
        .do_a({DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9,
            DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0}),
        .clk_b(CLKBMUX == "INV" ? ~CLKB : CLKB), .ce_b(CEB && cs_b), .oce_b(OCEB), .we_b(WEB),
        .rst_b(RSTB),
        .ad_b({ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5,
            ADB4, ADB3, ADB2, ADB1, ADB0}),
        .di_b({DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9,
            DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0}),
        .do_b({DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9,
            DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0})
    );
endmodule
