-- A small store of schema 0007, as hpastore 0.1.0 of that schema had it after an upgrade from 0006: five
-- images of one root, one of them rejected with a file, one relabelled, two clean sets and an override.  Its
-- views are left out: an upgrade makes them anew.  It is never changed.
CREATE TABLE alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE cell (
    id bigint NOT NULL,
    image_id bigint NOT NULL,
    mask_id bigint NOT NULL,
    x integer NOT NULL,
    y integer NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    area integer NOT NULL,
    touches_border boolean NOT NULL,
    pieces integer NOT NULL,
    nucleus_area integer,
    labels text COLLATE pg_catalog."C",
    label_count integer,
    red_intensity_min integer,
    red_intensity_max integer,
    red_intensity_mean double precision,
    red_intensity_std double precision,
    red_intensity_median double precision,
    red_saturated double precision,
    red_entropy double precision,
    red_brenner double precision,
    red_fraction double precision,
    red_fraction_notebook double precision,
    red_correlation double precision,
    red_intensity_nucleus double precision,
    red_intensity_nucleus_rim double precision,
    red_intensity_cytoplasm double precision,
    green_intensity_min integer,
    green_intensity_max integer,
    green_intensity_mean double precision,
    green_intensity_std double precision,
    green_intensity_median double precision,
    green_saturated double precision,
    green_entropy double precision,
    green_brenner double precision,
    green_fraction double precision,
    green_fraction_notebook double precision,
    green_correlation double precision,
    green_intensity_nucleus double precision,
    green_intensity_nucleus_rim double precision,
    green_intensity_cytoplasm double precision,
    blue_intensity_min integer,
    blue_intensity_max integer,
    blue_intensity_mean double precision,
    blue_intensity_std double precision,
    blue_intensity_median double precision,
    blue_saturated double precision,
    blue_entropy double precision,
    blue_brenner double precision,
    blue_fraction double precision,
    blue_fraction_notebook double precision,
    blue_correlation double precision,
    blue_intensity_nucleus double precision,
    blue_intensity_nucleus_rim double precision,
    blue_intensity_cytoplasm double precision,
    yellow_intensity_min integer,
    yellow_intensity_max integer,
    yellow_intensity_mean double precision,
    yellow_intensity_std double precision,
    yellow_intensity_median double precision,
    yellow_saturated double precision,
    yellow_entropy double precision,
    yellow_brenner double precision,
    yellow_fraction double precision,
    yellow_fraction_notebook double precision,
    yellow_correlation double precision,
    yellow_intensity_nucleus double precision,
    yellow_intensity_nucleus_rim double precision,
    yellow_intensity_cytoplasm double precision,
    CONSTRAINT ck_cell_mask_id CHECK (((mask_id >= 1) AND (mask_id <= '4294967295'::bigint))),
    CONSTRAINT ck_cell_shape CHECK (((area > 0) AND (width > 0) AND (height > 0) AND (x >= 0) AND (y >= 0)))
);
COMMENT ON TABLE cell IS 'Cells and their measures; one is named NAME:ID by its image and its mask id';
COMMENT ON COLUMN cell.id IS 'Key, counted up by the database';
COMMENT ON COLUMN cell.image_id IS 'The image';
COMMENT ON COLUMN cell.mask_id IS 'The cell''s value in the mask';
COMMENT ON COLUMN cell.x IS 'First column of the bounding box, 0-based [px]';
COMMENT ON COLUMN cell.y IS 'First row of the bounding box, 0-based [px]';
COMMENT ON COLUMN cell.width IS 'Columns of the bounding box; x + width is one past the last [px]';
COMMENT ON COLUMN cell.height IS 'Rows of the bounding box; y + height is one past the last [px]';
COMMENT ON COLUMN cell.area IS 'Pixels of the cell''s mask [px²]';
COMMENT ON COLUMN cell.touches_border IS 'Whether the box reaches the first or last row or column';
COMMENT ON COLUMN cell.pieces IS '8-connected components of the cell''s mask';
COMMENT ON COLUMN cell.nucleus_area IS 'Pixels of the nucleus with the cell''s id; NULL without a nucleus mask [px²]';
COMMENT ON COLUMN cell.labels IS 'Distinct label ids of this cell, joined by |, ascending; NULL: the cell has those of its image';
COMMENT ON COLUMN cell.label_count IS 'Number of distinct labels of this cell; NULL: the cell has those of its image';
COMMENT ON COLUMN cell.red_intensity_min IS 'Darkest pixel [grey level 0..255]';
COMMENT ON COLUMN cell.red_intensity_max IS 'Brightest pixel [grey level 0..255]';
COMMENT ON COLUMN cell.red_intensity_mean IS 'Mean [grey level 0..255]';
COMMENT ON COLUMN cell.red_intensity_std IS 'Population standard deviation [grey level]';
COMMENT ON COLUMN cell.red_intensity_median IS 'Median, linear interpolation [grey level 0..255]';
COMMENT ON COLUMN cell.red_saturated IS 'Share of the pixels at level 255 [share 0..1]';
COMMENT ON COLUMN cell.red_entropy IS 'Shannon entropy of the 256-bin histogram [bit]';
COMMENT ON COLUMN cell.red_brenner IS 'Focus: mean squared difference of pixels two columns apart; green and blue only, NULL without a pair [grey level²]';
COMMENT ON COLUMN cell.red_fraction IS 'Share of the pixels strictly above the channel''s background level; NULL without a background [share 0..1]';
COMMENT ON COLUMN cell.red_fraction_notebook IS 'What the public notebook computes: level over the whole image with cells set to zero, box without its last row and column; NULL where that box is empty [share 0..1]';
COMMENT ON COLUMN cell.red_correlation IS 'Correlation of the pixels with those of green; red, blue and yellow only, NULL where the cell is of one level in either [-1..1]';
COMMENT ON COLUMN cell.red_intensity_nucleus IS 'Mean over the nucleus with the cell''s id, inside the cell; green and blue only, NULL without a nucleus or nucleus mask [grey level 0..255]';
COMMENT ON COLUMN cell.red_intensity_nucleus_rim IS 'Mean over the rim of that nucleus: its pixels within sqrt(its area / 201) rows and columns, rounded down but 1 at least, of a pixel outside of it (an eighth of the radius of a disc); green and blue only, NULL as intensity_nucleus [grey level 0..255]';
COMMENT ON COLUMN cell.red_intensity_cytoplasm IS 'Mean over the cell outside that nucleus; green and blue only, NULL without a nucleus mask or such a pixel [grey level 0..255]';
COMMENT ON COLUMN cell.green_intensity_min IS 'Darkest pixel [grey level 0..255]';
COMMENT ON COLUMN cell.green_intensity_max IS 'Brightest pixel [grey level 0..255]';
COMMENT ON COLUMN cell.green_intensity_mean IS 'Mean [grey level 0..255]';
COMMENT ON COLUMN cell.green_intensity_std IS 'Population standard deviation [grey level]';
COMMENT ON COLUMN cell.green_intensity_median IS 'Median, linear interpolation [grey level 0..255]';
COMMENT ON COLUMN cell.green_saturated IS 'Share of the pixels at level 255 [share 0..1]';
COMMENT ON COLUMN cell.green_entropy IS 'Shannon entropy of the 256-bin histogram [bit]';
COMMENT ON COLUMN cell.green_brenner IS 'Focus: mean squared difference of pixels two columns apart; green and blue only, NULL without a pair [grey level²]';
COMMENT ON COLUMN cell.green_fraction IS 'Share of the pixels strictly above the channel''s background level; NULL without a background [share 0..1]';
COMMENT ON COLUMN cell.green_fraction_notebook IS 'What the public notebook computes: level over the whole image with cells set to zero, box without its last row and column; NULL where that box is empty [share 0..1]';
COMMENT ON COLUMN cell.green_correlation IS 'Correlation of the pixels with those of green; red, blue and yellow only, NULL where the cell is of one level in either [-1..1]';
COMMENT ON COLUMN cell.green_intensity_nucleus IS 'Mean over the nucleus with the cell''s id, inside the cell; green and blue only, NULL without a nucleus or nucleus mask [grey level 0..255]';
COMMENT ON COLUMN cell.green_intensity_nucleus_rim IS 'Mean over the rim of that nucleus: its pixels within sqrt(its area / 201) rows and columns, rounded down but 1 at least, of a pixel outside of it (an eighth of the radius of a disc); green and blue only, NULL as intensity_nucleus [grey level 0..255]';
COMMENT ON COLUMN cell.green_intensity_cytoplasm IS 'Mean over the cell outside that nucleus; green and blue only, NULL without a nucleus mask or such a pixel [grey level 0..255]';
COMMENT ON COLUMN cell.blue_intensity_min IS 'Darkest pixel [grey level 0..255]';
COMMENT ON COLUMN cell.blue_intensity_max IS 'Brightest pixel [grey level 0..255]';
COMMENT ON COLUMN cell.blue_intensity_mean IS 'Mean [grey level 0..255]';
COMMENT ON COLUMN cell.blue_intensity_std IS 'Population standard deviation [grey level]';
COMMENT ON COLUMN cell.blue_intensity_median IS 'Median, linear interpolation [grey level 0..255]';
COMMENT ON COLUMN cell.blue_saturated IS 'Share of the pixels at level 255 [share 0..1]';
COMMENT ON COLUMN cell.blue_entropy IS 'Shannon entropy of the 256-bin histogram [bit]';
COMMENT ON COLUMN cell.blue_brenner IS 'Focus: mean squared difference of pixels two columns apart; green and blue only, NULL without a pair [grey level²]';
COMMENT ON COLUMN cell.blue_fraction IS 'Share of the pixels strictly above the channel''s background level; NULL without a background [share 0..1]';
COMMENT ON COLUMN cell.blue_fraction_notebook IS 'What the public notebook computes: level over the whole image with cells set to zero, box without its last row and column; NULL where that box is empty [share 0..1]';
COMMENT ON COLUMN cell.blue_correlation IS 'Correlation of the pixels with those of green; red, blue and yellow only, NULL where the cell is of one level in either [-1..1]';
COMMENT ON COLUMN cell.blue_intensity_nucleus IS 'Mean over the nucleus with the cell''s id, inside the cell; green and blue only, NULL without a nucleus or nucleus mask [grey level 0..255]';
COMMENT ON COLUMN cell.blue_intensity_nucleus_rim IS 'Mean over the rim of that nucleus: its pixels within sqrt(its area / 201) rows and columns, rounded down but 1 at least, of a pixel outside of it (an eighth of the radius of a disc); green and blue only, NULL as intensity_nucleus [grey level 0..255]';
COMMENT ON COLUMN cell.blue_intensity_cytoplasm IS 'Mean over the cell outside that nucleus; green and blue only, NULL without a nucleus mask or such a pixel [grey level 0..255]';
COMMENT ON COLUMN cell.yellow_intensity_min IS 'Darkest pixel [grey level 0..255]';
COMMENT ON COLUMN cell.yellow_intensity_max IS 'Brightest pixel [grey level 0..255]';
COMMENT ON COLUMN cell.yellow_intensity_mean IS 'Mean [grey level 0..255]';
COMMENT ON COLUMN cell.yellow_intensity_std IS 'Population standard deviation [grey level]';
COMMENT ON COLUMN cell.yellow_intensity_median IS 'Median, linear interpolation [grey level 0..255]';
COMMENT ON COLUMN cell.yellow_saturated IS 'Share of the pixels at level 255 [share 0..1]';
COMMENT ON COLUMN cell.yellow_entropy IS 'Shannon entropy of the 256-bin histogram [bit]';
COMMENT ON COLUMN cell.yellow_brenner IS 'Focus: mean squared difference of pixels two columns apart; green and blue only, NULL without a pair [grey level²]';
COMMENT ON COLUMN cell.yellow_fraction IS 'Share of the pixels strictly above the channel''s background level; NULL without a background [share 0..1]';
COMMENT ON COLUMN cell.yellow_fraction_notebook IS 'What the public notebook computes: level over the whole image with cells set to zero, box without its last row and column; NULL where that box is empty [share 0..1]';
COMMENT ON COLUMN cell.yellow_correlation IS 'Correlation of the pixels with those of green; red, blue and yellow only, NULL where the cell is of one level in either [-1..1]';
COMMENT ON COLUMN cell.yellow_intensity_nucleus IS 'Mean over the nucleus with the cell''s id, inside the cell; green and blue only, NULL without a nucleus or nucleus mask [grey level 0..255]';
COMMENT ON COLUMN cell.yellow_intensity_nucleus_rim IS 'Mean over the rim of that nucleus: its pixels within sqrt(its area / 201) rows and columns, rounded down but 1 at least, of a pixel outside of it (an eighth of the radius of a disc); green and blue only, NULL as intensity_nucleus [grey level 0..255]';
COMMENT ON COLUMN cell.yellow_intensity_cytoplasm IS 'Mean over the cell outside that nucleus; green and blue only, NULL without a nucleus mask or such a pixel [grey level 0..255]';
CREATE SEQUENCE cell_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE cell_id_seq OWNED BY cell.id;
CREATE TABLE cell_label (
    cell_id bigint NOT NULL,
    label_id integer NOT NULL
);
COMMENT ON TABLE cell_label IS 'Labels of single cells; a cell with any has these instead of its image''s';
COMMENT ON COLUMN cell_label.cell_id IS 'The cell';
COMMENT ON COLUMN cell_label.label_id IS 'The label';
CREATE TABLE cell_mask (
    cell_id bigint NOT NULL,
    rle text NOT NULL COLLATE pg_catalog."C"
);
COMMENT ON TABLE cell_mask IS 'Masks of cells';
COMMENT ON COLUMN cell_mask.cell_id IS 'The cell';
COMMENT ON COLUMN cell_mask.rle IS 'The mask as a compressed COCO counts string; its size is the image''s height, width';
CREATE SEQUENCE cell_mask_cell_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE cell_mask_cell_id_seq OWNED BY cell_mask.cell_id;
CREATE TABLE cell_measure (
    cell_id bigint NOT NULL,
    measure_id bigint NOT NULL,
    channel text NOT NULL COLLATE pg_catalog."C",
    value double precision
);
COMMENT ON TABLE cell_measure IS 'Custom measures of cells';
COMMENT ON COLUMN cell_measure.cell_id IS 'The cell';
COMMENT ON COLUMN cell_measure.measure_id IS 'The measure';
COMMENT ON COLUMN cell_measure.channel IS 'The channel; empty for the cell as a whole';
COMMENT ON COLUMN cell_measure.value IS 'Its value, in the measure''s unit';
CREATE TABLE cell_override (
    id bigint NOT NULL,
    cell_id bigint,
    label_id integer,
    keep boolean NOT NULL,
    score double precision,
    author text COLLATE pg_catalog."C",
    comment text COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL,
    image_name text NOT NULL COLLATE pg_catalog."C",
    mask_id bigint NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    rle text NOT NULL COLLATE pg_catalog."C",
    checksum bigint,
    CONSTRAINT ck_cell_override_score CHECK (((score >= (0)::double precision) AND (score <= (1)::double precision)))
);
COMMENT ON TABLE cell_override IS 'What people decided about cells; it beats the rules';
COMMENT ON COLUMN cell_override.id IS 'Key, counted up by the database';
COMMENT ON COLUMN cell_override.cell_id IS 'The cell; NULL while the store has no such cell';
COMMENT ON COLUMN cell_override.label_id IS 'The label it holds for; NULL is every label';
COMMENT ON COLUMN cell_override.keep IS 'Whether the cell is clean, whatever the rules say';
COMMENT ON COLUMN cell_override.score IS 'How sure its author is, or how good it looks [0..1]';
COMMENT ON COLUMN cell_override.author IS 'Who decided';
COMMENT ON COLUMN cell_override.comment IS 'Why';
COMMENT ON COLUMN cell_override.created_at IS 'When it was decided [UTC]';
COMMENT ON COLUMN cell_override.image_name IS 'The image''s ID';
COMMENT ON COLUMN cell_override.mask_id IS 'The cell''s value in the mask that it was last found in';
COMMENT ON COLUMN cell_override.width IS 'Columns of the image [px]';
COMMENT ON COLUMN cell_override.height IS 'Rows of the image [px]';
COMMENT ON COLUMN cell_override.rle IS 'The cell''s mask as it was decided about, a compressed COCO counts string';
COMMENT ON COLUMN cell_override.checksum IS 'Checksum of this row and of those that belong to it; NULL if it was never computed';
CREATE SEQUENCE cell_override_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE cell_override_id_seq OWNED BY cell_override.id;
CREATE TABLE clean_rule (
    id bigint NOT NULL,
    clean_set_id bigint NOT NULL,
    label_id integer,
    measure text NOT NULL COLLATE pg_catalog."C",
    channel text COLLATE pg_catalog."C",
    lower_percentile double precision,
    lower_value double precision,
    upper_percentile double precision,
    upper_value double precision,
    "position" integer DEFAULT 1 NOT NULL,
    reason text COLLATE pg_catalog."C",
    condition text COLLATE pg_catalog."C",
    lower_median double precision,
    upper_median double precision,
    shown boolean DEFAULT true NOT NULL
);
COMMENT ON TABLE clean_rule IS 'Rules of clean sets';
COMMENT ON COLUMN clean_rule.id IS 'Key, counted up by the database';
COMMENT ON COLUMN clean_rule.clean_set_id IS 'The clean set';
COMMENT ON COLUMN clean_rule.label_id IS 'The label it holds for; NULL is every label';
COMMENT ON COLUMN clean_rule.measure IS 'Name of a measure';
COMMENT ON COLUMN clean_rule.channel IS 'The measure''s channel; NULL for a measure of shape';
COMMENT ON COLUMN clean_rule.lower_percentile IS 'Lower bound as a percentile of the label [share 0..1]';
COMMENT ON COLUMN clean_rule.lower_value IS 'Lower bound as a value, in the measure''s unit';
COMMENT ON COLUMN clean_rule.upper_percentile IS 'Upper bound as a percentile of the label [share 0..1]';
COMMENT ON COLUMN clean_rule.upper_value IS 'Upper bound as a value, in the measure''s unit';
COMMENT ON COLUMN clean_rule."position" IS 'Its place among the set''s rules, 1, 2, ...; the first that fails gives the reason';
COMMENT ON COLUMN clean_rule.reason IS 'Reason of the cells that it drops; NULL is below_lower or above_upper';
COMMENT ON COLUMN clean_rule.condition IS 'Flag that a cell must have for the rule to apply; NULL: it always applies';
COMMENT ON COLUMN clean_rule.lower_median IS 'Lower bound as a multiple of the label''s median';
COMMENT ON COLUMN clean_rule.upper_median IS 'Upper bound as a multiple of the label''s median';
COMMENT ON COLUMN clean_rule.shown IS 'Whether a cell that no rule drops is shown with the value of this one';
CREATE SEQUENCE clean_rule_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE clean_rule_id_seq OWNED BY clean_rule.id;
CREATE TABLE clean_set (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    scope text NOT NULL COLLATE pg_catalog."C",
    min_green integer NOT NULL,
    recipe_toml text NOT NULL COLLATE pg_catalog."C",
    frozen boolean NOT NULL,
    checksum bigint,
    min_cells integer DEFAULT 1 NOT NULL,
    guard text DEFAULT 'report'::text NOT NULL COLLATE pg_catalog."C",
    background_percentile double precision,
    split text COLLATE pg_catalog."C",
    CONSTRAINT ck_clean_set_scope CHECK ((scope = ANY (ARRAY['single'::text, 'all'::text])))
);
COMMENT ON TABLE clean_set IS 'Clean sets: which cells to train on, by which rules';
COMMENT ON COLUMN clean_set.id IS 'Key, counted up by the database';
COMMENT ON COLUMN clean_set.name IS 'Name; unique with the version';
COMMENT ON COLUMN clean_set.version IS '1, 2, ... of this name';
COMMENT ON COLUMN clean_set.created_at IS 'When it was materialised [UTC]';
COMMENT ON COLUMN clean_set.scope IS 'single: cells of images with one label; all: each cell against each label of its image';
COMMENT ON COLUMN clean_set.min_green IS 'Cells whose green intensity_max is below are dark, except those of the negative class alone [grey level 0..255]';
COMMENT ON COLUMN clean_set.recipe_toml IS 'The set''s rules as TOML';
COMMENT ON COLUMN clean_set.frozen IS 'Whether its cells are kept as they were materialised';
COMMENT ON COLUMN clean_set.checksum IS 'Checksum of this row and of those that belong to it; NULL if it was never computed';
COMMENT ON COLUMN clean_set.min_cells IS 'Number of cells that a label must have for its percentiles and medians to set a bound';
COMMENT ON COLUMN clean_set.guard IS 'If an image would lose all cells of a label: report it, or keep its best cell';
COMMENT ON COLUMN clean_set.background_percentile IS 'Of the measurement settings when it was made; NULL if not known [share 0..1]';
COMMENT ON COLUMN clean_set.split IS 'Split whose cells were judged and gave the thresholds; NULL is all images';
CREATE TABLE clean_set_cell (
    clean_set_id bigint NOT NULL,
    cell_id bigint NOT NULL,
    label_id integer NOT NULL,
    clean boolean NOT NULL,
    reason text COLLATE pg_catalog."C",
    rule_id bigint,
    value double precision
);
COMMENT ON TABLE clean_set_cell IS 'Verdicts as they were when the clean set was materialised';
COMMENT ON COLUMN clean_set_cell.clean_set_id IS 'The clean set';
COMMENT ON COLUMN clean_set_cell.cell_id IS 'The cell';
COMMENT ON COLUMN clean_set_cell.label_id IS 'The label';
COMMENT ON COLUMN clean_set_cell.clean IS 'Whether the cell is clean';
COMMENT ON COLUMN clean_set_cell.reason IS 'Why it is not: no_background, dark, below_lower, ...; NULL if clean';
COMMENT ON COLUMN clean_set_cell.rule_id IS 'The rule that dropped it; of others, the one whose value is shown; NULL without a rule';
COMMENT ON COLUMN clean_set_cell.value IS 'The cell''s value by this rule when it was judged, in the measure''s unit; NULL also where the set is older than the column';
CREATE TABLE clean_set_former (
    clean_set_id bigint NOT NULL,
    image_name text NOT NULL COLLATE pg_catalog."C",
    mask_id bigint NOT NULL,
    label_id integer NOT NULL,
    clean boolean NOT NULL,
    reason text COLLATE pg_catalog."C"
);
COMMENT ON TABLE clean_set_former IS 'Verdicts on cells whose image was replaced or deleted since';
COMMENT ON COLUMN clean_set_former.clean_set_id IS 'The clean set';
COMMENT ON COLUMN clean_set_former.image_name IS 'The image''s ID';
COMMENT ON COLUMN clean_set_former.mask_id IS 'The cell''s value in the mask that was judged';
COMMENT ON COLUMN clean_set_former.label_id IS 'The label';
COMMENT ON COLUMN clean_set_former.clean IS 'Whether the cell was clean';
COMMENT ON COLUMN clean_set_former.reason IS 'As in clean_set_cell';
CREATE SEQUENCE clean_set_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE clean_set_id_seq OWNED BY clean_set.id;
CREATE TABLE clean_set_threshold (
    clean_set_id bigint NOT NULL,
    rule_id bigint NOT NULL,
    label_id integer NOT NULL,
    n bigint NOT NULL,
    lower double precision,
    upper double precision
);
COMMENT ON TABLE clean_set_threshold IS 'Thresholds as they were when the clean set was materialised';
COMMENT ON COLUMN clean_set_threshold.clean_set_id IS 'The clean set';
COMMENT ON COLUMN clean_set_threshold.rule_id IS 'The rule';
COMMENT ON COLUMN clean_set_threshold.label_id IS 'The label';
COMMENT ON COLUMN clean_set_threshold.n IS 'Cells of images with this one label that have a value';
COMMENT ON COLUMN clean_set_threshold.lower IS 'Lower bound, inclusive, in the measure''s unit';
COMMENT ON COLUMN clean_set_threshold.upper IS 'Upper bound, inclusive, in the measure''s unit';
CREATE TABLE failure (
    image_name text NOT NULL COLLATE pg_catalog."C",
    uri text NOT NULL COLLATE pg_catalog."C",
    code text NOT NULL COLLATE pg_catalog."C",
    message text NOT NULL COLLATE pg_catalog."C",
    first_seen timestamp with time zone NOT NULL,
    last_seen timestamp with time zone NOT NULL,
    run_id bigint NOT NULL
);
COMMENT ON TABLE failure IS 'Rejected images; the row is deleted when the image is stored';
COMMENT ON COLUMN failure.image_name IS 'The image''s ID';
COMMENT ON COLUMN failure.uri IS 'The file at fault, relative to the root';
COMMENT ON COLUMN failure.code IS 'What kind of fault';
COMMENT ON COLUMN failure.message IS 'What happened and what to do';
COMMENT ON COLUMN failure.first_seen IS 'When this fault was first met [UTC]';
COMMENT ON COLUMN failure.last_seen IS 'When it was last met [UTC]';
COMMENT ON COLUMN failure.run_id IS 'The run that last met it';
CREATE TABLE failure_file (
    image_name text NOT NULL COLLATE pg_catalog."C",
    role text NOT NULL COLLATE pg_catalog."C",
    uri text NOT NULL COLLATE pg_catalog."C",
    size bigint NOT NULL,
    mtime_ns bigint NOT NULL,
    CONSTRAINT ck_failure_file_role CHECK ((role = ANY (ARRAY['red'::text, 'green'::text, 'blue'::text, 'yellow'::text, 'cell_mask'::text, 'nucleus_mask'::text])))
);
COMMENT ON TABLE failure_file IS 'Files of rejected images; while they stay as they are, they are not tried again';
COMMENT ON COLUMN failure_file.image_name IS 'The image''s ID';
COMMENT ON COLUMN failure_file.role IS 'red, green, blue, yellow, cell_mask or nucleus_mask';
COMMENT ON COLUMN failure_file.uri IS 'Path relative to the root, with forward slashes';
COMMENT ON COLUMN failure_file.size IS 'Size; -1 if it could not be looked at [byte]';
COMMENT ON COLUMN failure_file.mtime_ns IS 'Modification time [ns since 1970]';
CREATE TABLE image (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    split text COLLATE pg_catalog."C",
    root text NOT NULL COLLATE pg_catalog."C",
    width integer NOT NULL,
    height integer NOT NULL,
    bit_depth integer NOT NULL,
    labels text NOT NULL COLLATE pg_catalog."C",
    label_count integer NOT NULL,
    cell_count integer NOT NULL,
    ingested_at timestamp with time zone NOT NULL,
    settings_id bigint NOT NULL,
    gone_at timestamp with time zone,
    checksum bigint,
    relabelled_at timestamp with time zone,
    binary_mask text COLLATE pg_catalog."C",
    match_nuclei text COLLATE pg_catalog."C",
    CONSTRAINT ck_image_bit_depth CHECK ((bit_depth = ANY (ARRAY[8, 16]))),
    CONSTRAINT ck_image_size CHECK (((width > 0) AND (height > 0)))
);
COMMENT ON TABLE image IS 'One row per field of cells';
COMMENT ON COLUMN image.id IS 'Key, counted up by the database';
COMMENT ON COLUMN image.name IS 'The image''s ID, unique in the store';
COMMENT ON COLUMN image.split IS 'Such as train; given to ingest';
COMMENT ON COLUMN image.root IS 'Folder that the files'' uris are relative to';
COMMENT ON COLUMN image.width IS 'Columns [px]';
COMMENT ON COLUMN image.height IS 'Rows [px]';
COMMENT ON COLUMN image.bit_depth IS 'Of the files; levels are stored as 0..255 [bit]';
COMMENT ON COLUMN image.labels IS 'Distinct label ids joined by |, ascending; empty without labels';
COMMENT ON COLUMN image.label_count IS 'Number of distinct labels';
COMMENT ON COLUMN image.cell_count IS 'Number of cells';
COMMENT ON COLUMN image.ingested_at IS 'When its cells were stored [UTC]';
COMMENT ON COLUMN image.settings_id IS 'What its numbers were computed with';
COMMENT ON COLUMN image.gone_at IS 'When it was found to have left the inputs; views and new clean sets leave it out [UTC]';
COMMENT ON COLUMN image.checksum IS 'Checksum of this row and of those that belong to it; NULL if it was never computed';
COMMENT ON COLUMN image.relabelled_at IS 'When its labels last changed; NULL if they never did [UTC]';
COMMENT ON COLUMN image.binary_mask IS 'components: a mask of one value was split into its connected components; NULL: taken as it is';
COMMENT ON COLUMN image.match_nuclei IS 'overlap: each nucleus was given to the cell that holds most of it; NULL: to the cell of its id';
CREATE TABLE image_channel (
    image_id bigint NOT NULL,
    channel text NOT NULL COLLATE pg_catalog."C",
    background_level double precision,
    histogram bytea NOT NULL,
    CONSTRAINT ck_image_channel_channel CHECK ((channel = ANY (ARRAY['red'::text, 'green'::text, 'blue'::text, 'yellow'::text])))
);
COMMENT ON TABLE image_channel IS 'Channels of images';
COMMENT ON COLUMN image_channel.image_id IS 'The image';
COMMENT ON COLUMN image_channel.channel IS 'red, green, blue or yellow';
COMMENT ON COLUMN image_channel.background_level IS 'Background percentile of the pixels outside every cell; NULL without such a pixel [grey level 0..255]';
COMMENT ON COLUMN image_channel.histogram IS 'Joint histogram: zlib of the four byte planes, lowest first, of little-endian uint32 counts; (cells + 1) rows of 256 levels, first the background, then the cells by ascending mask id';
CREATE TABLE image_column (
    image_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C"
);
COMMENT ON TABLE image_column IS 'Further columns of the label table, such as the cell line or the plate';
COMMENT ON COLUMN image_column.image_id IS 'The image';
COMMENT ON COLUMN image_column.name IS 'Name of the column';
COMMENT ON COLUMN image_column.value IS 'What it says, as it is written there';
CREATE TABLE image_file (
    image_id bigint NOT NULL,
    role text NOT NULL COLLATE pg_catalog."C",
    uri text NOT NULL COLLATE pg_catalog."C",
    size bigint NOT NULL,
    mtime_ns bigint NOT NULL,
    sha256 text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT ck_image_file_role CHECK ((role = ANY (ARRAY['red'::text, 'green'::text, 'blue'::text, 'yellow'::text, 'cell_mask'::text, 'nucleus_mask'::text])))
);
COMMENT ON TABLE image_file IS 'Files that an image was read from';
COMMENT ON COLUMN image_file.image_id IS 'The image';
COMMENT ON COLUMN image_file.role IS 'red, green, blue, yellow, cell_mask or nucleus_mask';
COMMENT ON COLUMN image_file.uri IS 'Path relative to the image''s root, with forward slashes';
COMMENT ON COLUMN image_file.size IS 'Size [byte]';
COMMENT ON COLUMN image_file.mtime_ns IS 'Modification time [ns since 1970]';
COMMENT ON COLUMN image_file.sha256 IS 'SHA-256 of the bytes that were decoded, hexadecimal';
CREATE SEQUENCE image_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE image_id_seq OWNED BY image.id;
CREATE TABLE image_label (
    image_id bigint NOT NULL,
    label_id integer NOT NULL
);
COMMENT ON TABLE image_label IS 'Labels of images; a label is a claim about the image, not about each cell';
COMMENT ON COLUMN image_label.image_id IS 'The image';
COMMENT ON COLUMN image_label.label_id IS 'The label';
CREATE TABLE image_measure (
    image_id bigint NOT NULL,
    measure text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL
);
COMMENT ON TABLE image_measure IS 'Which images have which custom measures';
COMMENT ON COLUMN image_measure.image_id IS 'The image';
COMMENT ON COLUMN image_measure.measure IS 'The measure that its cells have';
COMMENT ON COLUMN image_measure.version IS 'Version of the formula that they have it by';
CREATE TABLE ingest_run (
    id bigint NOT NULL,
    root text NOT NULL COLLATE pg_catalog."C",
    split text COLLATE pg_catalog."C",
    version text NOT NULL COLLATE pg_catalog."C",
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    added integer NOT NULL,
    changed integer NOT NULL,
    relabelled integer NOT NULL,
    rejected integer NOT NULL,
    cells integer NOT NULL,
    remeasured integer DEFAULT 0 NOT NULL,
    gone integer DEFAULT 0 NOT NULL,
    labels text COLLATE pg_catalog."C",
    returned integer DEFAULT 0 NOT NULL,
    moved integer DEFAULT 0 NOT NULL,
    resplit integer DEFAULT 0 NOT NULL
);
COMMENT ON TABLE ingest_run IS 'Runs of ingest that had work to do';
COMMENT ON COLUMN ingest_run.id IS 'Key, counted up by the database';
COMMENT ON COLUMN ingest_run.root IS 'Folder that was ingested';
COMMENT ON COLUMN ingest_run.split IS 'Name given to the images, such as train';
COMMENT ON COLUMN ingest_run.version IS 'Version of hpastore';
COMMENT ON COLUMN ingest_run.started_at IS 'When it started [UTC]';
COMMENT ON COLUMN ingest_run.finished_at IS 'When it ended; NULL while it runs, or if it was killed [UTC]';
COMMENT ON COLUMN ingest_run.added IS 'Images stored for the first time';
COMMENT ON COLUMN ingest_run.changed IS 'Images replaced, since a file differs';
COMMENT ON COLUMN ingest_run.relabelled IS 'Images whose labels were replaced';
COMMENT ON COLUMN ingest_run.rejected IS 'Images not taken, see failure';
COMMENT ON COLUMN ingest_run.cells IS 'Cells stored';
COMMENT ON COLUMN ingest_run.remeasured IS 'Images whose stale numbers were computed again';
COMMENT ON COLUMN ingest_run.gone IS 'Images that left the inputs: marked, or pruned';
COMMENT ON COLUMN ingest_run.labels IS 'Table of labels that was read; NULL for images without labels';
COMMENT ON COLUMN ingest_run.returned IS 'Images that were gone and came back as they were';
COMMENT ON COLUMN ingest_run.moved IS 'Images that were found in another root, unchanged';
COMMENT ON COLUMN ingest_run.resplit IS 'Images that were given a split: their first one, or another';
CREATE SEQUENCE ingest_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE ingest_run_id_seq OWNED BY ingest_run.id;
CREATE TABLE label (
    id integer NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    negative boolean DEFAULT false NOT NULL,
    checksum bigint
);
COMMENT ON TABLE label IS 'Classes; those of a new store are the 19 of the Human Protein Atlas in 2021';
COMMENT ON COLUMN label.id IS 'Number of the class, as labels name it';
COMMENT ON COLUMN label.name IS 'Name of the class';
COMMENT ON COLUMN label.negative IS 'Whether it is the class of cells that do not show the protein; one at most';
COMMENT ON COLUMN label.checksum IS 'Checksum of this row and of those that belong to it; NULL if it was never computed';
CREATE TABLE measure (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    unit text NOT NULL COLLATE pg_catalog."C",
    comment text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT ck_measure_kind CHECK ((kind = ANY (ARRAY['histogram'::text, 'crops'::text])))
);
COMMENT ON TABLE measure IS 'Custom measures, as they were last computed';
COMMENT ON COLUMN measure.id IS 'Key, counted up by the database';
COMMENT ON COLUMN measure.name IS 'Name of the measure';
COMMENT ON COLUMN measure.version IS 'Version of its formula; an image may have an older one';
COMMENT ON COLUMN measure.kind IS 'histogram or crops: what it is a function of';
COMMENT ON COLUMN measure.unit IS 'Unit; empty for a number without one';
COMMENT ON COLUMN measure.comment IS 'What it is';
CREATE SEQUENCE measure_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE measure_id_seq OWNED BY measure.id;
CREATE TABLE measurement_settings (
    id bigint NOT NULL,
    background_percentile double precision NOT NULL,
    current boolean NOT NULL,
    checksum bigint,
    levels text DEFAULT '257'::text NOT NULL COLLATE pg_catalog."C",
    measures text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT ck_measurement_settings_background_percentile CHECK (((background_percentile >= (0)::double precision) AND (background_percentile <= (1)::double precision)))
);
COMMENT ON TABLE measurement_settings IS 'What the numbers were computed with';
COMMENT ON COLUMN measurement_settings.id IS 'Key, counted up by the database';
COMMENT ON COLUMN measurement_settings.background_percentile IS 'Share of the background''s pixels at or below the background level [share 0..1]';
COMMENT ON COLUMN measurement_settings.current IS 'Whether new images are measured with it; numbers of others are stale';
COMMENT ON COLUMN measurement_settings.checksum IS 'Checksum of this row and of those that belong to it; NULL if it was never computed';
COMMENT ON COLUMN measurement_settings.levels IS 'How levels of 16 bit become 0..255: divided by 257, and rounded';
COMMENT ON COLUMN measurement_settings.measures IS 'Version of each measure''s formula, as a JSON object by name';
CREATE SEQUENCE measurement_settings_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE measurement_settings_id_seq OWNED BY measurement_settings.id;
ALTER TABLE ONLY cell ALTER COLUMN id SET DEFAULT nextval('cell_id_seq'::regclass);
ALTER TABLE ONLY cell_mask ALTER COLUMN cell_id SET DEFAULT nextval('cell_mask_cell_id_seq'::regclass);
ALTER TABLE ONLY cell_override ALTER COLUMN id SET DEFAULT nextval('cell_override_id_seq'::regclass);
ALTER TABLE ONLY clean_rule ALTER COLUMN id SET DEFAULT nextval('clean_rule_id_seq'::regclass);
ALTER TABLE ONLY clean_set ALTER COLUMN id SET DEFAULT nextval('clean_set_id_seq'::regclass);
ALTER TABLE ONLY image ALTER COLUMN id SET DEFAULT nextval('image_id_seq'::regclass);
ALTER TABLE ONLY ingest_run ALTER COLUMN id SET DEFAULT nextval('ingest_run_id_seq'::regclass);
ALTER TABLE ONLY measure ALTER COLUMN id SET DEFAULT nextval('measure_id_seq'::regclass);
ALTER TABLE ONLY measurement_settings ALTER COLUMN id SET DEFAULT nextval('measurement_settings_id_seq'::regclass);
INSERT INTO alembic_version VALUES ('0007');
INSERT INTO cell VALUES (1, 1, 1, 0, 2, 4, 10, 40, true, 1, 16, NULL, NULL, 0, 237, 120.125, 58.782304948002846, 117.5, 0, 5.121928094887363, NULL, 0.8, 0.7777777777777778, NULL, NULL, NULL, NULL, 13, 226, 124, 56.66656862736617, 121.5, 0, 5.121928094887363, 8624.3, 0.825, 0.8148148148148148, NULL, NULL, NULL, NULL, 21, 242, 146.975, 55.66663610278602, 155.5, 0, 5.171928094887363, 5797.55, 0.9, 0.9259259259259259, NULL, NULL, NULL, NULL, 19, 247, 146.4, 62.09299477396786, 157.5, 0, 5.171928094887362, NULL, 0.875, 0.9259259259259259, NULL, NULL, NULL, NULL);
INSERT INTO cell VALUES (2, 1, 3, 6, 2, 4, 11, 44, false, 1, 16, NULL, NULL, 31, 241, 140.36363636363637, 60.05228438206271, 139.5, 0, 5.215002357224491, NULL, 0.8636363636363636, 0.9, NULL, NULL, NULL, NULL, 23, 245, 123.68181818181819, 51.94523896604644, 115.5, 0, 5.277613436819116, 4859.818181818182, 0.9318181818181818, 0.9333333333333333, NULL, NULL, NULL, NULL, 13, 221, 136.8181818181818, 48.02994933432526, 142, 0, 5.3685225277282065, 4819.272727272727, 0.9545454545454546, 0.9333333333333333, NULL, NULL, NULL, NULL, 34, 218, 129.6590909090909, 56.94053644006741, 127.5, 0, 5.215002357224492, NULL, 0.8863636363636364, 0.9, NULL, NULL, NULL, NULL);
INSERT INTO cell VALUES (3, 1, 5, 12, 2, 4, 12, 48, false, 1, 16, NULL, NULL, 8, 230, 127, 60.67055848322699, 124, 0, 5.334962500721155, NULL, 0.8541666666666666, 0.8787878787878788, NULL, NULL, NULL, NULL, 16, 229, 130.70833333333334, 62.064804281940305, 136, 0, 5.459962500721155, 9576.75, 0.8333333333333334, 0.8181818181818182, NULL, NULL, NULL, NULL, 34, 234, 128.10416666666666, 50.28470591845552, 124.5, 0, 5.501629167387822, 4365.208333333333, 0.9166666666666666, 0.9090909090909091, NULL, NULL, NULL, NULL, 14, 239, 124.39583333333333, 57.59692540381146, 120, 0, 5.3609023444260835, NULL, 0.8958333333333334, 0.9090909090909091, NULL, NULL, NULL, NULL);
INSERT INTO cell VALUES (4, 2, 1, 0, 2, 4, 10, 40, true, 1, 16, NULL, NULL, 18, 238, 107.6, 54.19123545371521, 100, 0, 5.021928094887363, NULL, 0.775, 0.7407407407407407, NULL, NULL, NULL, NULL, 21, 232, 128.825, 61.74458984396932, 146.5, 0, 5.271928094887363, 5966.25, 0.8, 0.7037037037037037, NULL, NULL, NULL, NULL, 24, 239, 129.15, 63.902875522154716, 128.5, 0, 5.171928094887362, 7838.5, 0.8, 0.8148148148148148, NULL, NULL, NULL, NULL, 36, 240, 126.175, 53.83534503465172, 125, 0, 5.203055907333276, NULL, 0.85, 0.8518518518518519, NULL, NULL, NULL, NULL);
INSERT INTO cell VALUES (5, 3, 1, 0, 2, 4, 10, 40, true, 1, 16, NULL, NULL, 22, 226, 132.625, 54.9630273456621, 131.5, 0, 5.1219280948873624, NULL, 0.85, 0.8888888888888888, NULL, NULL, NULL, NULL, 28, 247, 127.975, 54.03724988376074, 125.5, 0, 5.071928094887363, 4628.85, 0.9, 0.9259259259259259, NULL, NULL, NULL, NULL, 27, 234, 114.45, 56.6488967235903, 106, 0, 5.221928094887362, 7540.4, 0.725, 0.6666666666666666, NULL, NULL, NULL, NULL, 7, 231, 111.3, 57.44310228391221, 103.5, 0, 5.1219280948873624, NULL, 0.825, 0.8888888888888888, NULL, NULL, NULL, NULL);
INSERT INTO cell VALUES (6, 3, 3, 6, 2, 4, 11, 44, false, 1, 16, NULL, NULL, 26, 219, 112.97727272727273, 54.540847343304264, 114, 0, 5.095795255000934, NULL, 0.7727272727272727, 0.8333333333333334, NULL, NULL, NULL, NULL, 37, 218, 127.36363636363636, 50.088145444302356, 127, 0, 5.260456902679037, 3538, 0.8863636363636364, 0.9, NULL, NULL, NULL, NULL, 8, 234, 118.43181818181819, 56.36020425767584, 111, 0, 5.305911448133583, 8009.863636363636, 0.7954545454545454, 0.8, NULL, NULL, NULL, NULL, 4, 240, 137.95454545454547, 63.04830563127931, 139.5, 0, 5.3230679822736615, NULL, 0.8636363636363636, 0.8666666666666667, NULL, NULL, NULL, NULL);
INSERT INTO cell VALUES (7, 4, 1, 0, 2, 4, 10, 40, true, 1, 16, NULL, NULL, 27, 215, 115.225, 56.81350521662961, 122, 0, 5.221928094887363, NULL, 0.75, 0.7407407407407407, NULL, NULL, NULL, NULL, 7, 247, 125.2, 58.364030018496834, 126.5, 0, 5.271928094887363, 4764.3, 0.8, 0.8518518518518519, NULL, NULL, NULL, NULL, 11, 237, 125.65, 63.566716920099, 121.5, 0, 5.271928094887363, 9406.7, 0.775, 0.8148148148148148, NULL, NULL, NULL, NULL, 16, 207, 124.925, 49.89157619278028, 131.5, 0, 5.221928094887362, NULL, 0.825, 0.9259259259259259, NULL, NULL, NULL, NULL);
INSERT INTO cell VALUES (8, 4, 3, 6, 2, 4, 11, 44, false, 1, 16, NULL, NULL, 3, 231, 123.88636363636364, 64.49813806653326, 107.5, 0, 5.23215889136457, NULL, 0.7954545454545454, 0.8333333333333334, NULL, NULL, NULL, NULL, 10, 219, 123.3409090909091, 54.8617863286783, 125, 0, 5.232158891364571, 5709.318181818182, 0.8636363636363636, 0.8666666666666667, NULL, NULL, NULL, NULL, 8, 227, 114.43181818181819, 59.570202178633785, 110, 0, 5.3685225277282065, 8876.318181818182, 0.75, 0.7333333333333333, NULL, NULL, NULL, NULL, 46, 239, 143.5681818181818, 51.530837072780876, 146.5, 0, 5.413977073182752, NULL, 0.9090909090909091, 0.9, NULL, NULL, NULL, NULL);
INSERT INTO cell VALUES (9, 4, 5, 12, 2, 4, 12, 48, false, 1, 16, NULL, NULL, 24, 245, 127.08333333333333, 61.59776556192783, 118.5, 0, 5.376629167387823, NULL, 0.8125, 0.7878787878787878, NULL, NULL, NULL, NULL, 18, 241, 124.85416666666667, 56.7090489484605, 126.5, 0, 5.459962500721156, 7729.625, 0.8333333333333334, 0.9090909090909091, NULL, NULL, NULL, NULL, 8, 211, 117.41666666666667, 56.83925922185201, 114, 0, 5.418295834054489, 6747, 0.8125, 0.8181818181818182, NULL, NULL, NULL, NULL, 29, 219, 138.3125, 56.61756067761427, 139, 0, 5.459962500721156, NULL, 0.8958333333333334, 0.8787878787878788, NULL, NULL, NULL, NULL);
INSERT INTO cell_mask VALUES (1, '2:>00000nd0');
INSERT INTO cell_mask VALUES (2, 'b4;=00000^`0');
INSERT INTO cell_mask VALUES (3, 'R9<<00000n;');
INSERT INTO cell_mask VALUES (4, '2:>00000nd0');
INSERT INTO cell_mask VALUES (5, '2:>00000nd0');
INSERT INTO cell_mask VALUES (6, 'b4;=00000^`0');
INSERT INTO cell_mask VALUES (7, '2:>00000nd0');
INSERT INTO cell_mask VALUES (8, 'b4;=00000^`0');
INSERT INTO cell_mask VALUES (9, 'R9<<00000n;');
INSERT INTO cell_override VALUES (1, 1, NULL, false, NULL, 'Ann', 'two cells', '2026-11-29 15:30:32.603116+00', 'image-00', 1, 32, 24, '2:>00000nd0', 7057429802519409561);
INSERT INTO clean_rule VALUES (1, 1, NULL, 'fraction', 'green', 0.001, NULL, 0.999, NULL, 1, NULL, NULL, NULL, NULL, true);
INSERT INTO clean_rule VALUES (2, 2, NULL, 'intensity_mean', 'green', 0.1, NULL, 0.9, NULL, 1, NULL, NULL, NULL, NULL, true);
INSERT INTO clean_set VALUES (1, 'mine', 1, '2026-11-23 02:34:18.698709+00', 'single', 64, 'scope = "single"
min_green = 64
[[rule]]
measure = "fraction"
channel = "green"
lower_percentile = 0.001
upper_percentile = 0.999
', false, 5625206314158538468, 1, 'report', NULL, NULL);
INSERT INTO clean_set VALUES (2, 'wide', 1, '2026-11-23 02:34:18.728885+00', 'all', 64, 'scope = "all"
min_green = 64
[[rule]]
measure = "intensity_mean"
channel = "green"
lower_percentile = 0.1
upper_percentile = 0.9
', false, 2389195233920958994, 1, 'report', NULL, NULL);
INSERT INTO clean_set_cell VALUES (1, 1, 0, false, 'below_lower', 1, NULL);
INSERT INTO clean_set_cell VALUES (1, 2, 0, false, 'above_upper', 1, NULL);
INSERT INTO clean_set_cell VALUES (1, 3, 0, true, NULL, 1, NULL);
INSERT INTO clean_set_cell VALUES (1, 4, 16, true, NULL, 1, NULL);
INSERT INTO clean_set_cell VALUES (1, 7, 18, false, 'below_lower', 1, NULL);
INSERT INTO clean_set_cell VALUES (1, 8, 18, false, 'above_upper', 1, NULL);
INSERT INTO clean_set_cell VALUES (1, 9, 18, true, NULL, 1, NULL);
INSERT INTO clean_set_cell VALUES (2, 1, 0, true, NULL, 2, NULL);
INSERT INTO clean_set_cell VALUES (2, 2, 0, false, 'below_lower', 2, NULL);
INSERT INTO clean_set_cell VALUES (2, 3, 0, false, 'above_upper', 2, NULL);
INSERT INTO clean_set_cell VALUES (2, 4, 16, true, NULL, 2, NULL);
INSERT INTO clean_set_cell VALUES (2, 5, 0, true, NULL, 2, NULL);
INSERT INTO clean_set_cell VALUES (2, 5, 16, false, 'below_lower', 2, NULL);
INSERT INTO clean_set_cell VALUES (2, 6, 0, true, NULL, 2, NULL);
INSERT INTO clean_set_cell VALUES (2, 6, 16, false, 'below_lower', 2, NULL);
INSERT INTO clean_set_cell VALUES (2, 7, 18, false, 'above_upper', 2, NULL);
INSERT INTO clean_set_cell VALUES (2, 8, 18, false, 'below_lower', 2, NULL);
INSERT INTO clean_set_cell VALUES (2, 9, 18, true, NULL, 2, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 0, 3, 0.8250166666666666, 0.9316212121212121);
INSERT INTO clean_set_threshold VALUES (1, 1, 1, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 2, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 3, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 4, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 5, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 6, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 7, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 8, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 9, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 10, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 11, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 12, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 13, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 14, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 15, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 16, 1, 0.8, 0.8);
INSERT INTO clean_set_threshold VALUES (1, 1, 17, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (1, 1, 18, 3, 0.8000666666666667, 0.8635757575757576);
INSERT INTO clean_set_threshold VALUES (2, 2, 0, 3, 123.74545454545455, 129.36666666666667);
INSERT INTO clean_set_threshold VALUES (2, 2, 1, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 2, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 3, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 4, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 5, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 6, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 7, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 8, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 9, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 10, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 11, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 12, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 13, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 14, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 15, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 16, 1, 128.825, 128.825);
INSERT INTO clean_set_threshold VALUES (2, 2, 17, 0, NULL, NULL);
INSERT INTO clean_set_threshold VALUES (2, 2, 18, 3, 123.6435606060606, 125.13083333333334);
INSERT INTO failure VALUES ('image-04', 'train/image-04_red.png', 'png', 'is cut short', '2026-11-24 00:00:00+00', '2026-11-24 00:00:00+00', 2);
INSERT INTO failure_file VALUES ('image-04', 'red', 'train/image-04_red.png', 10, 20);
INSERT INTO image VALUES (1, 'image-00', 'train', '/lab/data', 32, 24, 8, '5', 1, 3, '2026-11-23 02:34:18.644154+00', 1, NULL, 4510497921870287016, NULL, NULL, NULL);
INSERT INTO image VALUES (2, 'image-01', 'train', '/lab/data', 32, 24, 8, '16', 1, 1, '2026-11-23 02:34:18.6612+00', 1, NULL, 4222284097646118692, NULL, NULL, NULL);
INSERT INTO image VALUES (3, 'image-02', 'train', '/lab/data', 32, 24, 8, '0|16', 2, 2, '2026-11-23 02:34:18.674909+00', 1, NULL, 6616164775071378646, NULL, NULL, NULL);
INSERT INTO image VALUES (4, 'image-03', 'train', '/lab/data', 32, 24, 8, '18', 1, 3, '2026-11-23 02:34:18.684632+00', 1, NULL, 1310332694827637138, NULL, NULL, NULL);
INSERT INTO image_channel VALUES (1, 'blue', 62, '\x789ced91dd0e83200c8539c400e52ffafe2f3b65c0a81277b1dd6ce99780e1b485d39a9c713e7a5a6d72742c4ac1678a14a2b1d16e644d3279a1608ccd66b37b640921e7b0b918fcaafe12dc2b9867e926e05a7f4d474d430d1cbb56c361b80c5c2b5239ea520ef420f7d94fa33c35f7267453a3c0dcf68f6e7b978b9d9670ed6ad7304ca5d9472de315fcc9d3e031d8f89ce9ecc0d7ab33740fa32da0fda3e136fdec0cd0b356541fd2e9517e0d7be7ec934de92bc31004411004411004e18779006d760301');
INSERT INTO image_channel VALUES (1, 'green', 61.64999999999998, '\x789ced925b1283200c45bd5421212876baffbdb62a95f2a8fdefe4386302b92109eafdba8a4416cf13595aeecb4d46e6992908db8788a33950a051447876e22dc7c951b00b458e6ef82b70b987ec00ad1a6574b3afc7d4a9c9c7211836c13b6a9ac3f0b9571443a33dab7f96437fa89f5c2515b36f15cc6e8fa1815a3ac020afccae413941beb45e1b284cbe26e446ab31d1389d63bf87dabb05aa585de1ec3ef593d63065b45f19c8f3b7ff4bb7f12323e59d5f39bd4cab561445511445511445199e76180301');
INSERT INTO image_channel VALUES (1, 'red', 61, '\x789ced92cb16c2200c443b28aff0eac2ffff56b5052c143cdd7accdd0021131842a0e4dc6abc8d46b97bb241bb555a1da5f764493d88e4aa8d912493b32106ab15515264b48bc6abe5d7c1788d4912ca022769a77c8f629be419f6adaac20b71e1f06603c74d6074e8d2151dfab8cad9e6218e62a8f7b19b9ebad942397cab358aac55e551b465904b889251d3e7dde9df7f60a8bde1b4c31347a5e77b13901f08e3baf57b7c9a764c3e6bea141f090ec1e1e5c4f2d534c3300cc3300cc3307fc51375110301');
INSERT INTO image_channel VALUES (1, 'yellow', 62, '\x789ced92db0e84200c4477aa2bb45ce2ff7fedae11918a9acd3e9a9e84182e53a6839ca34b8ee7b76409639289b30bde8f3c897331fb24e2e71038678e29048991137b8a99c54509af07828b29fa7dec8b4a4517b5f43134fae6348ed5caa965117b19ac3b38caab85654a9dfb735f3750af40fdd06659f752edb5fde02441e0dacada6491bed0b5b04a495fbb8ca133fc2b6d5ad0d35b417d9f12c8d7da406d0595dee19fd119f4efb4dd413a5594d871ae3ab7fa4f2886611886611886613c840f70450301');
INSERT INTO image_channel VALUES (2, 'blue', 62, '\x789ced8f010ac3200c458dd099986f9c74bbff550b5d4b75b80bac798888ff85afa9b2bc2cd7567302440c0bd7968bb1a8ae050a6135883dc0fa2cc26fb5c48d8122d01cfe15dad7e4f60c6937287cf66f3d8e0357183b89c643fc9984a3a7ef9e19c733c652ead5c99f1cc7719c3bb20175f60301');
INSERT INTO image_channel VALUES (2, 'green', 62, '\x789ced8edb0ac3300c43e3c2ba5ab29db6d0ffffd531d65bba87bdaf3e6027062129ec61b41848468f30758b9e3317e8c0a76234ad8087bad3aacf15150a35a51a2696bf44e47cacf3792ebf6395d2e8de26ad8b349226ee1a2ebbf6cb626b23dbb53738ca95ee574692244972775e74050301');
INSERT INTO image_channel VALUES (2, 'red', 61.73000000000002, '\x789ced8d6b0ec330088347546d809d924abdff592b758daa3eb6036c7c7f3060cbf0b1199fad4d8c208c08ba1a2ba01146f37100403854ed3579789d19adaa55853e7e0fe953767dfaf551e4fa5e6ff2b6944dca9eeb89720c6cfba9e073f9ade11b72684f922449fe9d057a060301');
INSERT INTO image_channel VALUES (2, 'yellow', 62, '\x789ced8f590e80300844251acb56a4deffb01ae382cb0de47d4021cc1468d026a24a55c86673aaccac8ee85ea9cde86ae858786222161342132f63c186d545bb3f008f08671be0566d194ed9f50c4e10b5873898aca18f1f47138863fbf06d97f7d6dfb7244992247f670176a60301');
INSERT INTO image_channel VALUES (3, 'blue', 62, '\x789ced900d0ec3200885654b5001b5ddfd0f3ba371fe753dc0c617532dc893075921670539b2a07d8524279f6cc5277b20078c8ebcd844e47cf01ca23f4818910ef421637e18787c89e795c97bfe0c41636ac1275a0fd02e8099d33dd354f787daedb2ad4abd0296aa4dea3a749f85a1c12e3a7b9a0d2c4a50c6d4a5ca4047fb53dbb0540fb275d8e5f779d9e23ebcddcfbd7f4551144551947fe10d145c0301');
INSERT INTO image_channel VALUES (3, 'green', 62, '\x789ced90d10e833008457bebec044abb25fbff6f5d745631d5c4e785f3d094db0b05f4f979d344957352aa2295746411ca2911953c66d24cac5a52159d5e2c9c941f45b40c52b9847f06dbf10b71e90c21362fe67b73c2d44073edb510f77f6609c6615a382a3327faa16574da99ef36b09374a9ed09e1b832aca20917a2710d30bb3217b3f52563ad8e6d3e5cf94dc78ee3388ee3384ecf1711f60301');
INSERT INTO image_channel VALUES (3, 'red', 62, '\x789ced90dd0ec32008857b48a3a2d0da2c7bff57dd8fedacae26bb5ef82e5438084735b1c8720fcec79842ba714c739225650eac5e56f5cabc49088e353a2f6e65ce31aaf0ea45f3f49fa06c3412ca199d48adde1697e87d874e325e19d4521cb9e1d8d2e479853ed15e7f3dbceff52ba8c68126554de09c03edc6f7f5da3dcaf3f1a5cd474055e8bca35968f8324ccd9f1a8661188661189507132d0301');
INSERT INTO image_channel VALUES (3, 'yellow', 61, '\x789ced905d0e032108841db3ab08fe64d397deffa44ddcd855d7f6002ddf8be01006901832edc965e1f0d82406b7b1644f99889f29fb1484980ede23171f4b38984acc257909a588333f02e6084b01e39731b666b6fe62946adeba6152d019a07b5663d9b3c35c60cdcdf1f35a5fcb162266a58fb0a8ed17bc5cede2262dea2c80db69db51d067b3bd1d87c779aaf74097c36a0f455114455194ffe4050fa20301');
INSERT INTO image_channel VALUES (4, 'blue', 62, '\x789ced916d0f83200c843d928dbe886effffcf6e6a8022b8f879e993286aaf470f85253d13cb3213affa6095189535ad914889df2fa54451a2c8a2a4c2df1b6faa99674dc4d31f815b05ec1730212fad6aaf1fd5b11526db83d0f4774d239fac44afac72a0d89d47bc186cf886c634a00a4c07ae272a53006618e36f4cabb85a76ceb51fb7e2e097ac6b189c7f9de714308783d9239c72d8d0f997944fe8232057cc93d9afda37e7782c215c64701cc7711cc7711cc7d9f80078b50301');
INSERT INTO image_channel VALUES (4, 'green', 62, '\x789ced92dd0e83200c857748105a41e2fbbfec7e82b4a02ccbeeb6f4bbd0507aea398d29c518887c64e610caba3dde71e31c628a65610a399735f3c231f9c4c9ef9e6222daa964265a6f7f02de5ed407542bb404830452d2577047096a406d861ca06bf2d1c1239a0b7d390d320a2fcb438a8b2e7735f0c80b110cb6ebd13d5b203d7aa33757e54e44505d27e79d585bc434e3274c64d5ca91461bacd9dd59dffd2bca539bd2c2f57b858c962fbc4e277768d26e4dd30d7cb915c3300cc3300cc3307e9f3b73ba0301');
INSERT INTO image_channel VALUES (4, 'red', 61.64999999999998, '\x789ced92d10e83200c4569874a0b95ecff7f769a28143066be6e3d26a8b7b7500a2cb27a59a22749f28e8be418c33431338520ec690d9499d794988839cd29f24caf34fb2c9217f7c3c031c2f189db0370e5dbc5ab8883ce54276db28e5c684dcd94a0df75708da50f7ec7adb704cf628a80501704a59d22943d37d3dcac8d3a4345a133c2a8ed89d8a5a1eada937edcd409aed919aa2383aef3ea30bb5dedff9d502fd958080ed2761175ebcbb2a353d7dd5c46c3300cc3300cc330fe900f77ab0301');
INSERT INTO image_channel VALUES (4, 'yellow', 62, '\x789ced91c11283200c445d46852420ffffb7ad5524809d9e7a69f374c6b026212c7965110ee2b72c9989c29a0379cad1b327f65b4c694eb450e4146589c4bcf11cd9fbc049a24cbf069ecfbdaebe18b3a0937405868cd2e2501d5e4a7971b547dfa20aeec8acdb6108be83da07d3ed7901a0156a45efc81e3b558fb3e75558e2da09f59f36a97456bbf713df2e3fd00cdc798c3779985cb9c84bd653159b9af57186cedd6ed85d747a7dda857217adf3ae77c2300cc3300cc3308c7fe70170580301');
INSERT INTO image_file VALUES (1, 'blue', 'train/image-00_blue.png', 858, 1795401258609524299, 'e1bd78cd0727018f8ffdaa5149e40a55ffe5c6d9b27cb138cf41640d29746d46');
INSERT INTO image_file VALUES (1, 'cell_mask', 'hpa_cell_mask/image-00.npz', 242, 1795401258609890934, 'e80f78daabffbfbaa178744170a8a8783f4abf65da51b7d02b8dbc04abcc4053');
INSERT INTO image_file VALUES (1, 'green', 'train/image-00_green.png', 852, 1795401258609441756, '7f075a4c626e8d69178e906c45f7ec66521e83a3113a8fe59b0f54ddd753a302');
INSERT INTO image_file VALUES (1, 'nucleus_mask', 'hpa_nuclei_mask/image-00.npz', 233, 1795401258610105863, '2bf4f771e47725276f31b908fbd27a5ec718bc5067bbfd26f4ab41fa43caf7a1');
INSERT INTO image_file VALUES (1, 'red', 'train/image-00_red.png', 857, 1795401258609338543, '632550187a65552a9df801e75ba10d1f19f81c00b6d10bf93d5411cd821695bb');
INSERT INTO image_file VALUES (1, 'yellow', 'train/image-00_yellow.png', 854, 1795401258609601824, '2428fab9dd8df4189ef27bf997e6869336cbb75dc1ba73a33aade4577101bc7e');
INSERT INTO image_file VALUES (2, 'blue', 'train/image-01_blue.png', 812, 1795401258610621228, 'f4b5703141d82ac66abd76f9e37f3ee7fee3e0c5dfdbea0918e6c757acca440e');
INSERT INTO image_file VALUES (2, 'cell_mask', 'hpa_cell_mask/image-01.npz', 226, 1795401258610826233, '24dcbc7d76f1250fa429f17444eb40e3a9fcfa75a78e8e4aff9e0d8f80691daf');
INSERT INTO image_file VALUES (2, 'green', 'train/image-01_green.png', 813, 1795401258610545896, '2f6a1a85b38aafafe3959af9e073b91e80ed5a926617dac61725b52178d6e94f');
INSERT INTO image_file VALUES (2, 'nucleus_mask', 'hpa_nuclei_mask/image-01.npz', 225, 1795401258610987893, '337f9afcd252bd1235f1d967d1f24a75b5f55c40de4f52039eb1f54f71f4de77');
INSERT INTO image_file VALUES (2, 'red', 'train/image-01_red.png', 812, 1795401258610457395, 'd1a962a3a6de9f1847c9e4534c05bb351ef7d2b6866315b3305cb0a646f10310');
INSERT INTO image_file VALUES (2, 'yellow', 'train/image-01_yellow.png', 805, 1795401258610696120, 'd4ff737101966361d136361b4d21d3d0277ab6f14876c5fad39b6eb97951cbaf');
INSERT INTO image_file VALUES (3, 'blue', 'train/image-02_blue.png', 828, 1795401258611432003, '239396f001d6f957bbc77e0bd1bbe8dfdd99d275e3230fa085d53c08f7231df6');
INSERT INTO image_file VALUES (3, 'cell_mask', 'hpa_cell_mask/image-02.npz', 234, 1795401258611628484, '36007ab9030024035640cf6e457491347837fc6fbde2ebdbb5a216830228fc08');
INSERT INTO image_file VALUES (3, 'green', 'train/image-02_green.png', 829, 1795401258611356250, '7d15b84ca347ed64b8ee68d8fe03d8756baad40fe836cb64faaf9f39e87dedeb');
INSERT INTO image_file VALUES (3, 'nucleus_mask', 'hpa_nuclei_mask/image-02.npz', 229, 1795401258611784025, '6c333165fc2e5921519e3eb101ba2578d12a9826fceedf4b622e74e96c31f292');
INSERT INTO image_file VALUES (3, 'red', 'train/image-02_red.png', 835, 1795401258611270222, '9e96fc3b42d3e6944c5d8dd1e6ca59e7e401cecd96da267ea9e213e1c965e173');
INSERT INTO image_file VALUES (3, 'yellow', 'train/image-02_yellow.png', 838, 1795401258611507795, 'c3450f8c8d1fa0c2c9ebb0cf2e9259e2a42a71784906f809f1fb6afafc1e9661');
INSERT INTO image_file VALUES (4, 'blue', 'train/image-03_blue.png', 860, 1795401258612228686, 'e24c72a63748bac010399f7a6c2fe4e1f4eed3f5a2e9fd8036cca387cf393cbf');
INSERT INTO image_file VALUES (4, 'cell_mask', 'hpa_cell_mask/image-03.npz', 242, 1795401258612423646, 'e80f78daabffbfbaa178744170a8a8783f4abf65da51b7d02b8dbc04abcc4053');
INSERT INTO image_file VALUES (4, 'green', 'train/image-03_green.png', 855, 1795401258612152313, 'ae0bdc63ce450dff48d1dc010b58b9610062cf322cf76c7e6b8a76e91877b97d');
INSERT INTO image_file VALUES (4, 'nucleus_mask', 'hpa_nuclei_mask/image-03.npz', 233, 1795401258612586257, '2bf4f771e47725276f31b908fbd27a5ec718bc5067bbfd26f4ab41fa43caf7a1');
INSERT INTO image_file VALUES (4, 'red', 'train/image-03_red.png', 857, 1795401258612063841, '70652496e8dfed92bb7dfebf8a8cb6cc38355670843c34e62da8a6769f106605');
INSERT INTO image_file VALUES (4, 'yellow', 'train/image-03_yellow.png', 860, 1795401258612301795, '9d633a6aa03a08245c7dbd0f2dc232e13fc09c86782080f88abc2a8147b2366c');
INSERT INTO image_label VALUES (1, 5);
INSERT INTO image_label VALUES (2, 16);
INSERT INTO image_label VALUES (3, 0);
INSERT INTO image_label VALUES (3, 16);
INSERT INTO image_label VALUES (4, 18);
INSERT INTO ingest_run VALUES (1, '/lab/data', 'train', '0.1.0', '2026-11-23 02:34:18.635165+00', '2026-11-23 02:34:18.695285+00', 4, 0, 0, 1, 9, 0, 0, NULL, 0, 0, 0);
INSERT INTO ingest_run VALUES (2, '/lab/data', 'train', '0.1.0', '2026-11-23 02:34:18.746962+00', '2026-11-23 02:34:18.75592+00', 0, 0, 1, 1, 0, 0, 0, NULL, 0, 0, 0);
INSERT INTO label VALUES (0, 'Nucleoplasm', false, 6483028864626102725);
INSERT INTO label VALUES (1, 'Nuclear membrane', false, 8902441648578824858);
INSERT INTO label VALUES (2, 'Nucleoli', false, 1525249263939561154);
INSERT INTO label VALUES (3, 'Nucleoli fibrillar center', false, 2704014411534155150);
INSERT INTO label VALUES (4, 'Nuclear speckles', false, 3141703712598154211);
INSERT INTO label VALUES (5, 'Nuclear bodies', false, 2164277798569119074);
INSERT INTO label VALUES (6, 'Endoplasmic reticulum', false, 7145853060087788599);
INSERT INTO label VALUES (7, 'Golgi apparatus', false, 4545199714901816755);
INSERT INTO label VALUES (8, 'Intermediate filaments', false, 7120701205783996662);
INSERT INTO label VALUES (9, 'Actin filaments', false, 5420950312631582486);
INSERT INTO label VALUES (10, 'Microtubules', false, 8483764836660644180);
INSERT INTO label VALUES (11, 'Mitotic spindle', false, 581193091953522889);
INSERT INTO label VALUES (12, 'Centrosome', false, 1703651900972029668);
INSERT INTO label VALUES (13, 'Plasma membrane', false, 7186637505798735761);
INSERT INTO label VALUES (14, 'Mitochondria', false, 4673287820102298127);
INSERT INTO label VALUES (15, 'Aggresome', false, 462164905521442613);
INSERT INTO label VALUES (16, 'Cytosol', false, 1768645035915799881);
INSERT INTO label VALUES (17, 'Vesicles and punctate cytosolic patterns', false, 74705147234946877);
INSERT INTO label VALUES (18, 'Negative', true, 7660987006355424175);
INSERT INTO measurement_settings VALUES (1, 0.99, true, 4083323428460240524, '257', '{"area":1,"brenner":1,"entropy":1,"fraction":1,"fraction_notebook":1,"height":1,"intensity_max":1,"intensity_mean":1,"intensity_median":1,"intensity_min":1,"intensity_std":1,"nucleus_area":1,"pieces":1,"saturated":1,"touches_border":1,"width":1,"x":1,"y":1}');
SELECT pg_catalog.setval('cell_id_seq', 9, true);
SELECT pg_catalog.setval('cell_mask_cell_id_seq', 1, false);
SELECT pg_catalog.setval('cell_override_id_seq', 1, true);
SELECT pg_catalog.setval('clean_rule_id_seq', 2, true);
SELECT pg_catalog.setval('clean_set_id_seq', 2, true);
SELECT pg_catalog.setval('image_id_seq', 4, true);
SELECT pg_catalog.setval('ingest_run_id_seq', 2, true);
SELECT pg_catalog.setval('measure_id_seq', 1, false);
SELECT pg_catalog.setval('measurement_settings_id_seq', 1, true);
ALTER TABLE ONLY alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY cell
    ADD CONSTRAINT pk_cell PRIMARY KEY (id);
ALTER TABLE ONLY cell_label
    ADD CONSTRAINT pk_cell_label PRIMARY KEY (cell_id, label_id);
ALTER TABLE ONLY cell_mask
    ADD CONSTRAINT pk_cell_mask PRIMARY KEY (cell_id);
ALTER TABLE ONLY cell_measure
    ADD CONSTRAINT pk_cell_measure PRIMARY KEY (cell_id, measure_id, channel);
ALTER TABLE ONLY cell_override
    ADD CONSTRAINT pk_cell_override PRIMARY KEY (id);
ALTER TABLE ONLY clean_rule
    ADD CONSTRAINT pk_clean_rule PRIMARY KEY (id);
ALTER TABLE ONLY clean_set
    ADD CONSTRAINT pk_clean_set PRIMARY KEY (id);
ALTER TABLE ONLY clean_set_cell
    ADD CONSTRAINT pk_clean_set_cell PRIMARY KEY (clean_set_id, cell_id, label_id);
ALTER TABLE ONLY clean_set_former
    ADD CONSTRAINT pk_clean_set_former PRIMARY KEY (clean_set_id, image_name, mask_id, label_id);
ALTER TABLE ONLY clean_set_threshold
    ADD CONSTRAINT pk_clean_set_threshold PRIMARY KEY (clean_set_id, rule_id, label_id);
ALTER TABLE ONLY failure
    ADD CONSTRAINT pk_failure PRIMARY KEY (image_name);
ALTER TABLE ONLY failure_file
    ADD CONSTRAINT pk_failure_file PRIMARY KEY (image_name, role);
ALTER TABLE ONLY image
    ADD CONSTRAINT pk_image PRIMARY KEY (id);
ALTER TABLE ONLY image_channel
    ADD CONSTRAINT pk_image_channel PRIMARY KEY (image_id, channel);
ALTER TABLE ONLY image_column
    ADD CONSTRAINT pk_image_column PRIMARY KEY (image_id, name);
ALTER TABLE ONLY image_file
    ADD CONSTRAINT pk_image_file PRIMARY KEY (image_id, role);
ALTER TABLE ONLY image_label
    ADD CONSTRAINT pk_image_label PRIMARY KEY (image_id, label_id);
ALTER TABLE ONLY image_measure
    ADD CONSTRAINT pk_image_measure PRIMARY KEY (image_id, measure);
ALTER TABLE ONLY ingest_run
    ADD CONSTRAINT pk_ingest_run PRIMARY KEY (id);
ALTER TABLE ONLY label
    ADD CONSTRAINT pk_label PRIMARY KEY (id);
ALTER TABLE ONLY measure
    ADD CONSTRAINT pk_measure PRIMARY KEY (id);
ALTER TABLE ONLY measurement_settings
    ADD CONSTRAINT pk_measurement_settings PRIMARY KEY (id);
ALTER TABLE ONLY cell
    ADD CONSTRAINT uq_cell_image_id_mask_id UNIQUE (image_id, mask_id);
ALTER TABLE ONLY cell_override
    ADD CONSTRAINT uq_cell_override_cell_id_label_id UNIQUE (cell_id, label_id);
ALTER TABLE ONLY clean_set
    ADD CONSTRAINT uq_clean_set_name_version UNIQUE (name, version);
ALTER TABLE ONLY image
    ADD CONSTRAINT uq_image_name UNIQUE (name);
ALTER TABLE ONLY label
    ADD CONSTRAINT uq_label_name UNIQUE (name);
ALTER TABLE ONLY measure
    ADD CONSTRAINT uq_measure_name UNIQUE (name);
ALTER TABLE ONLY measurement_settings
    ADD CONSTRAINT uq_measurement_settings_background_percentile_levels_measures UNIQUE (background_percentile, levels, measures);
CREATE INDEX ix_cell_label_label_id ON cell_label USING btree (label_id);
CREATE INDEX ix_cell_override_image_name ON cell_override USING btree (image_name);
CREATE INDEX ix_cell_own_labels ON cell USING btree (image_id) WHERE (label_count IS NOT NULL);
CREATE INDEX ix_clean_rule_clean_set_id ON clean_rule USING btree (clean_set_id);
CREATE INDEX ix_clean_set_cell_cell_id ON clean_set_cell USING btree (cell_id);
CREATE INDEX ix_image_column_name ON image_column USING btree (name);
CREATE INDEX ix_image_label_label_id ON image_label USING btree (label_id);
CREATE UNIQUE INDEX uq_cell_override_every_label ON cell_override USING btree (cell_id) WHERE (label_id IS NULL);
CREATE UNIQUE INDEX uq_label_negative ON label USING btree (negative) WHERE negative;
CREATE UNIQUE INDEX uq_measurement_settings_current ON measurement_settings USING btree (current) WHERE current;
ALTER TABLE ONLY cell
    ADD CONSTRAINT fk_cell_image_id FOREIGN KEY (image_id) REFERENCES image(id) ON DELETE CASCADE;
ALTER TABLE ONLY cell_label
    ADD CONSTRAINT fk_cell_label_cell_id FOREIGN KEY (cell_id) REFERENCES cell(id) ON DELETE CASCADE;
ALTER TABLE ONLY cell_label
    ADD CONSTRAINT fk_cell_label_label_id FOREIGN KEY (label_id) REFERENCES label(id);
ALTER TABLE ONLY cell_mask
    ADD CONSTRAINT fk_cell_mask_cell_id FOREIGN KEY (cell_id) REFERENCES cell(id) ON DELETE CASCADE;
ALTER TABLE ONLY cell_measure
    ADD CONSTRAINT fk_cell_measure_cell_id FOREIGN KEY (cell_id) REFERENCES cell(id) ON DELETE CASCADE;
ALTER TABLE ONLY cell_measure
    ADD CONSTRAINT fk_cell_measure_measure_id FOREIGN KEY (measure_id) REFERENCES measure(id) ON DELETE CASCADE;
ALTER TABLE ONLY cell_override
    ADD CONSTRAINT fk_cell_override_cell_id FOREIGN KEY (cell_id) REFERENCES cell(id) ON DELETE SET NULL;
ALTER TABLE ONLY cell_override
    ADD CONSTRAINT fk_cell_override_label_id FOREIGN KEY (label_id) REFERENCES label(id);
ALTER TABLE ONLY clean_rule
    ADD CONSTRAINT fk_clean_rule_clean_set_id FOREIGN KEY (clean_set_id) REFERENCES clean_set(id) ON DELETE CASCADE;
ALTER TABLE ONLY clean_rule
    ADD CONSTRAINT fk_clean_rule_label_id FOREIGN KEY (label_id) REFERENCES label(id);
ALTER TABLE ONLY clean_set_former
    ADD CONSTRAINT fk_clean_set_former_clean_set_id FOREIGN KEY (clean_set_id) REFERENCES clean_set(id) ON DELETE CASCADE;
ALTER TABLE ONLY clean_set_former
    ADD CONSTRAINT fk_clean_set_former_label_id FOREIGN KEY (label_id) REFERENCES label(id);
ALTER TABLE ONLY clean_set_threshold
    ADD CONSTRAINT fk_clean_set_threshold_clean_set_id FOREIGN KEY (clean_set_id) REFERENCES clean_set(id) ON DELETE CASCADE;
ALTER TABLE ONLY clean_set_threshold
    ADD CONSTRAINT fk_clean_set_threshold_label_id FOREIGN KEY (label_id) REFERENCES label(id);
ALTER TABLE ONLY clean_set_threshold
    ADD CONSTRAINT fk_clean_set_threshold_rule_id FOREIGN KEY (rule_id) REFERENCES clean_rule(id) ON DELETE CASCADE;
ALTER TABLE ONLY failure_file
    ADD CONSTRAINT fk_failure_file_image_name FOREIGN KEY (image_name) REFERENCES failure(image_name) ON DELETE CASCADE;
ALTER TABLE ONLY failure
    ADD CONSTRAINT fk_failure_run_id FOREIGN KEY (run_id) REFERENCES ingest_run(id);
ALTER TABLE ONLY image_channel
    ADD CONSTRAINT fk_image_channel_image_id FOREIGN KEY (image_id) REFERENCES image(id) ON DELETE CASCADE;
ALTER TABLE ONLY image_column
    ADD CONSTRAINT fk_image_column_image_id FOREIGN KEY (image_id) REFERENCES image(id) ON DELETE CASCADE;
ALTER TABLE ONLY image_file
    ADD CONSTRAINT fk_image_file_image_id FOREIGN KEY (image_id) REFERENCES image(id) ON DELETE CASCADE;
ALTER TABLE ONLY image_label
    ADD CONSTRAINT fk_image_label_image_id FOREIGN KEY (image_id) REFERENCES image(id) ON DELETE CASCADE;
ALTER TABLE ONLY image_label
    ADD CONSTRAINT fk_image_label_label_id FOREIGN KEY (label_id) REFERENCES label(id);
ALTER TABLE ONLY image_measure
    ADD CONSTRAINT fk_image_measure_image_id FOREIGN KEY (image_id) REFERENCES image(id) ON DELETE CASCADE;
ALTER TABLE ONLY image
    ADD CONSTRAINT fk_image_settings_id FOREIGN KEY (settings_id) REFERENCES measurement_settings(id);
