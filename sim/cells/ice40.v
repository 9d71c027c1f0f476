// Cells of iCE40.

// Yosys's own model is a tree of multiplexers, which takes a compiler far longer.
module SB_LUT4(output O, input I0, I1, I2, I3);
    parameter [15:0] LUT_INIT = 0;
    wire [15:0] chosen = LUT_INIT >> {I3, I2, I1, I0};
    assign O = chosen[0];
endmodule

// Block RAM of 256 words of 16 bits. In mode m a word is 16 >> m groups of 1 << m bits, and the
// address chooses one bit of each. Other than Yosys's model, this one answers with wrong data where a
// word is read in the cycle in which it is written, since nobody says what the device does then.
module SB_RAM40_4K(
    output reg [15:0] RDATA,
    input RCLK, RCLKE, RE,
    input [10:0] RADDR,
    input WCLK, WCLKE, WE,
    input [10:0] WADDR,
    input [15:0] MASK, WDATA
);
    parameter WRITE_MODE = 0, READ_MODE = 0;
    parameter [255:0] INIT_0 = 0, INIT_1 = 0, INIT_2 = 0, INIT_3 = 0, INIT_4 = 0, INIT_5 = 0;
    parameter [255:0] INIT_6 = 0, INIT_7 = 0, INIT_8 = 0, INIT_9 = 0, INIT_A = 0, INIT_B = 0;
    parameter [255:0] INIT_C = 0, INIT_D = 0, INIT_E = 0, INIT_F = 0;
    localparam integer W = 1 << WRITE_MODE, R = 1 << READ_MODE;
    localparam [4095:0] INIT = {
        INIT_F, INIT_E, INIT_D, INIT_C, INIT_B, INIT_A, INIT_9, INIT_8,
        INIT_7, INIT_6, INIT_5, INIT_4, INIT_3, INIT_2, INIT_1, INIT_0
    };

    reg [15:0] mem [0:255];
    integer i;
    initial for (i = 0; i < 256; i = i + 1) mem[i] = INIT[16 * i +: 16];

    // Data pins stand in the middle of their groups.
    wire [15:0] written, enabled, seen, found;
    wire [2:0] write_choice = WADDR[10:8] & (W - 1), read_choice = RADDR[10:8] & (R - 1);
    wire writes = WE && WCLKE;
    genvar b;
    generate
        for (b = 0; b < 16; b = b + 1) begin : bits
            assign written[b] = WDATA[b / W * W + (W - 1) / 2];
            assign enabled[b] = WRITE_MODE == 0 ? !MASK[b] : b % W == write_choice;
            assign found[b] = b % R == (R - 1) / 2 && seen[b / R * R + read_choice];
        end
    endgenerate
    assign seen = mem[RADDR[7:0]] ^ (writes && RADDR[7:0] == WADDR[7:0] ? enabled : 16'd0);

    always @(posedge WCLK)
        if (writes) mem[WADDR[7:0]] <= (mem[WADDR[7:0]] & ~enabled) | (written & enabled);
    always @(posedge RCLK)
        if (RE && RCLKE) RDATA <= found;
endmodule
