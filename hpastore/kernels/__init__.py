"""Arrays in, arrays out: what hpastore computes, without files and without a database.

One pass over a mask gives its `LabelImage`; everything about shapes follows from its runs, and
everything about grey levels from the joint histogram of label rows and levels.

Context: the obvious way compares the whole image with every mask id.  At 2048² and 20 cells that
costs seconds, at 65,535 one-pixel cells an hour.  Decision: the mask is read once, column by
column, into runs; runs give compact rows, areas, boxes, pieces and COCO RLEs, and rows give one
histogram per channel.  Consequence: the time depends on pixels and runs, hardly on cells, and no
array is ever as long as the largest mask id.
"""
