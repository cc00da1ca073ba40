-- A small store of schema 0002, as hpastore 0.1.0 of that schema had it after an upgrade from 0001: five
-- images of one root, one of them rejected with a file, one relabelled, and two clean sets.  It is never
-- changed.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE cell (
	id INTEGER NOT NULL, 
	image_id INTEGER NOT NULL, 
	mask_id INTEGER NOT NULL, 
	x INTEGER NOT NULL, 
	y INTEGER NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	area INTEGER NOT NULL, 
	touches_border INTEGER NOT NULL, 
	pieces INTEGER NOT NULL, 
	nucleus_area INTEGER, 
	rle TEXT NOT NULL, 
	CONSTRAINT pk_cell PRIMARY KEY (id), 
	CONSTRAINT ck_cell_ck_cell_shape CHECK (area > 0 AND width > 0 AND height > 0 AND x >= 0 AND y >= 0), 
	CONSTRAINT ck_cell_ck_cell_mask_id CHECK (mask_id BETWEEN 1 AND 4294967295), 
	CONSTRAINT fk_cell_image_id FOREIGN KEY(image_id) REFERENCES image (id) ON DELETE CASCADE, 
	CONSTRAINT uq_cell_image_id_mask_id UNIQUE (image_id, mask_id)
)
 STRICT

;
INSERT INTO "cell" VALUES(1,1,1,0,2,4,10,40,1,1,16,'2:>00000nd0');
INSERT INTO "cell" VALUES(2,1,3,6,2,4,11,44,0,1,16,'b4;=00000^`0');
INSERT INTO "cell" VALUES(3,1,5,12,2,4,12,48,0,1,16,'R9<<00000n;');
INSERT INTO "cell" VALUES(4,2,1,0,2,4,10,40,1,1,16,'2:>00000nd0');
INSERT INTO "cell" VALUES(5,3,1,0,2,4,10,40,1,1,16,'2:>00000nd0');
INSERT INTO "cell" VALUES(6,3,3,6,2,4,11,44,0,1,16,'b4;=00000^`0');
INSERT INTO "cell" VALUES(7,4,1,0,2,4,10,40,1,1,16,'2:>00000nd0');
INSERT INTO "cell" VALUES(8,4,3,6,2,4,11,44,0,1,16,'b4;=00000^`0');
INSERT INTO "cell" VALUES(9,4,5,12,2,4,12,48,0,1,16,'R9<<00000n;');
CREATE TABLE cell_channel (
	cell_id INTEGER NOT NULL, 
	channel TEXT NOT NULL, 
	intensity_min INTEGER NOT NULL, 
	intensity_max INTEGER NOT NULL, 
	intensity_mean REAL NOT NULL, 
	intensity_std REAL NOT NULL, 
	intensity_median REAL NOT NULL, 
	saturated REAL NOT NULL, 
	entropy REAL NOT NULL, 
	brenner REAL, 
	fraction REAL, 
	fraction_notebook REAL, 
	CONSTRAINT pk_cell_channel PRIMARY KEY (cell_id, channel), 
	CONSTRAINT ck_cell_channel_ck_cell_channel_channel CHECK (channel IN ('red', 'green', 'blue', 'yellow')), 
	CONSTRAINT fk_cell_channel_cell_id FOREIGN KEY(cell_id) REFERENCES cell (id) ON DELETE CASCADE
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "cell_channel" VALUES(1,'blue',21,242,146.975,5.56666361027860219241e+01,155.5,0.0,5.1719280948873631587e+00,5797.55,0.9,9.25925925925925930037e-01);
INSERT INTO "cell_channel" VALUES(1,'green',13,226,124.0,5.66665686273661677301e+01,121.5,0.0,5.12192809488736333634e+00,8624.3,0.825,8.14814814814814769583e-01);
INSERT INTO "cell_channel" VALUES(1,'red',0,237,120.125,5.87823049480028458901e+01,117.5,0.0,5.12192809488736333634e+00,NULL,0.8,7.77777777777777790113e-01);
INSERT INTO "cell_channel" VALUES(1,'yellow',19,247,146.4,6.20929947739678596025e+01,157.5,0.0,5.17192809488736227052e+00,NULL,0.875,9.25925925925925930037e-01);
INSERT INTO "cell_channel" VALUES(2,'blue',13,221,1.3681818181818181301e+02,4.8029949334325259258e+01,142.0,0.0,5.36852252772820648374e+00,4.81927272727272702464e+03,9.54545454545454585826e-01,9.33333333333333348136e-01);
INSERT INTO "cell_channel" VALUES(2,'green',23,245,1.2368181818181818699e+02,5.19452389660464390868e+01,115.5,0.0,5.27761343681911565539e+00,4.85981818181818198349e+03,9.31818181818181767717e-01,9.33333333333333348136e-01);
INSERT INTO "cell_channel" VALUES(2,'red',31,241,1.40363636363636373966e+02,6.00522843820627087989e+01,139.5,0.0,5.21500235722449101416e+00,NULL,8.63636363636363646456e-01,0.9);
INSERT INTO "cell_channel" VALUES(2,'yellow',34,218,1.29659090909090906512e+02,5.69405364400674116618e+01,127.5,0.0,5.21500235722449190234e+00,NULL,8.86363636363636353543e-01,0.9);
INSERT INTO "cell_channel" VALUES(3,'blue',34,234,1.28104166666666657197e+02,5.02847059184555220676e+01,124.5,0.0,5.5016291673878221502e+00,4.36520833333333303002e+03,9.16666666666666629659e-01,9.0909090909090906063e-01);
INSERT INTO "cell_channel" VALUES(3,'green',16,229,1.30708333333333342812e+02,6.206480428194030452e+01,136.0,0.0,5.45996250072115518747e+00,9576.75,8.3333333333333337034e-01,8.18181818181818232282e-01);
INSERT INTO "cell_channel" VALUES(3,'red',8,230,127.0,6.06705584832269906314e+01,124.0,0.0,5.33496250072115518747e+00,NULL,8.54166666666666629659e-01,8.78787878787878784514e-01);
INSERT INTO "cell_channel" VALUES(3,'yellow',14,239,1.24395833333333328597e+02,5.75969254038114613063e+01,120.0,0.0,5.36090234442608348786e+00,NULL,8.9583333333333337034e-01,9.0909090909090906063e-01);
INSERT INTO "cell_channel" VALUES(4,'blue',24,239,129.15,6.39028755221547157833e+01,128.5,0.0,5.17192809488736227052e+00,7838.5,0.8,8.14814814814814769583e-01);
INSERT INTO "cell_channel" VALUES(4,'green',21,232,128.825,6.17445898439693223718e+01,146.5,0.0,5.27192809488736280343e+00,5966.25,0.8,7.03703703703703720151e-01);
INSERT INTO "cell_channel" VALUES(4,'red',18,238,107.6,5.41912354537152083375e+01,100.0,0.0,5.02192809488736280343e+00,NULL,0.775,7.40740740740740699621e-01);
INSERT INTO "cell_channel" VALUES(4,'yellow',36,240,126.175,5.38353450346517234956e+01,125.0,0.0,5.20305590733327605335e+00,NULL,0.85,8.51851851851851860075e-01);
INSERT INTO "cell_channel" VALUES(5,'blue',27,234,114.45,56.6488967235903,106.0,0.0,5.22192809488736209289e+00,7540.4,0.725,6.66666666666666629659e-01);
INSERT INTO "cell_channel" VALUES(5,'green',28,247,127.975,5.40372498837607366777e+01,125.5,0.0,5.07192809488736262579e+00,4628.85,0.9,9.25925925925925930037e-01);
INSERT INTO "cell_channel" VALUES(5,'red',22,226,132.625,54.9630273456621,131.5,0.0,5.12192809488736244816e+00,NULL,0.85,8.88888888888888839545e-01);
INSERT INTO "cell_channel" VALUES(5,'yellow',7,231,111.3,5.7443102283912210737e+01,103.5,0.0,5.12192809488736244816e+00,NULL,0.825,8.88888888888888839545e-01);
INSERT INTO "cell_channel" VALUES(6,'blue',8,234,1.1843181818181818699e+02,5.63602042576758392993e+01,111.0,0.0,5.30591144813358273069e+00,8.00986363636363603302e+03,7.95454545454545414173e-01,0.8);
INSERT INTO "cell_channel" VALUES(6,'green',37,218,1.27363636363636359763e+02,5.00881454443023557123e+01,127.0,0.0,5.26045690267903687242e+00,3538.0,8.86363636363636353543e-01,0.9);
INSERT INTO "cell_channel" VALUES(6,'red',26,219,1.12977272727272733728e+02,5.45408473433042644256e+01,114.0,0.0,5.0957952550009339987e+00,NULL,7.72727272727272707086e-01,8.3333333333333337034e-01);
INSERT INTO "cell_channel" VALUES(6,'yellow',4,240,1.37954545454545467468e+02,6.30483056312793124211e+01,139.5,0.0,5.32306798227366151365e+00,NULL,8.63636363636363646456e-01,8.66666666666666696272e-01);
INSERT INTO "cell_channel" VALUES(7,'blue',11,237,125.65,63.566716920099,121.5,0.0,5.27192809488736280343e+00,9406.7,0.775,8.14814814814814769583e-01);
INSERT INTO "cell_channel" VALUES(7,'green',7,247,125.2,5.83640300184968339189e+01,126.5,0.0,5.27192809488736280343e+00,4764.3,0.8,8.51851851851851860075e-01);
INSERT INTO "cell_channel" VALUES(7,'red',27,215,115.225,5.68135052166296077285e+01,122.0,0.0,5.22192809488736298106e+00,NULL,0.75,7.40740740740740699621e-01);
INSERT INTO "cell_channel" VALUES(7,'yellow',16,207,124.925,4.98915761927802776671e+01,131.5,0.0,5.22192809488736209289e+00,NULL,0.825,9.25925925925925930037e-01);
INSERT INTO "cell_channel" VALUES(8,'blue',8,227,1.14431818181818186982e+02,5.95702021786337851958e+01,110.0,0.0,5.36852252772820648374e+00,8.87631818181818198383e+03,0.75,7.33333333333333281522e-01);
INSERT INTO "cell_channel" VALUES(8,'green',10,219,1.23340909090909093496e+02,54.8617863286783,125.0,0.0,5.23215889136457068531e+00,5.70931818181818198339e+03,8.63636363636363646456e-01,8.66666666666666696272e-01);
INSERT INTO "cell_channel" VALUES(8,'red',3,231,1.2388636363636364024e+02,6.44981380665332579846e+01,107.5,0.0,5.23215889136457,NULL,7.95454545454545414173e-01,8.3333333333333337034e-01);
INSERT INTO "cell_channel" VALUES(8,'yellow',46,239,1.43568181818181813012e+02,5.15308370727808764391e+01,146.5,0.0,5.413977073182752342e+00,NULL,9.0909090909090906063e-01,0.9);
INSERT INTO "cell_channel" VALUES(9,'blue',8,211,1.17416666666666671405e+02,5.68392592218520107403e+01,114.0,0.0,5.41829583405448911292e+00,6747.0,0.8125,8.18181818181818232282e-01);
INSERT INTO "cell_channel" VALUES(9,'green',18,241,1.24854166666666671408e+02,56.7090489484605,126.5,0.0,5.45996250072115607565e+00,7729.625,8.3333333333333337034e-01,9.0909090909090906063e-01);
INSERT INTO "cell_channel" VALUES(9,'red',24,245,1.27083333333333328598e+02,6.15977655619278294816e+01,118.5,0.0,5.37662916738782303838e+00,NULL,0.8125,7.87878787878787845144e-01);
INSERT INTO "cell_channel" VALUES(9,'yellow',29,219,138.3125,5.66175606776142714693e+01,139.0,0.0,5.45996250072115607565e+00,NULL,8.9583333333333337034e-01,8.78787878787878784514e-01);
CREATE TABLE clean_rule (
	id INTEGER NOT NULL, 
	clean_set_id INTEGER NOT NULL, 
	label_id INTEGER, 
	measure TEXT NOT NULL, 
	channel TEXT, 
	lower_percentile REAL, 
	lower_value REAL, 
	upper_percentile REAL, 
	upper_value REAL, 
	CONSTRAINT pk_clean_rule PRIMARY KEY (id), 
	CONSTRAINT fk_clean_rule_clean_set_id FOREIGN KEY(clean_set_id) REFERENCES clean_set (id) ON DELETE CASCADE, 
	CONSTRAINT fk_clean_rule_label_id FOREIGN KEY(label_id) REFERENCES label (id)
)
 STRICT

;
INSERT INTO "clean_rule" VALUES(1,1,NULL,'fraction','green',0.001,NULL,0.999,NULL);
INSERT INTO "clean_rule" VALUES(2,2,NULL,'intensity_mean','green',0.1,NULL,0.9,NULL);
CREATE TABLE clean_set (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	created_at TEXT NOT NULL, 
	scope TEXT NOT NULL, 
	min_green INTEGER NOT NULL, 
	recipe_toml TEXT NOT NULL, 
	frozen INTEGER NOT NULL, verdicts INTEGER, checksum INTEGER, 
	CONSTRAINT pk_clean_set PRIMARY KEY (id), 
	CONSTRAINT ck_clean_set_ck_clean_set_scope CHECK (scope IN ('single', 'all')), 
	CONSTRAINT uq_clean_set_name_version UNIQUE (name, version)
)
 STRICT

;
INSERT INTO "clean_set" VALUES(1,'mine',1,'2026-11-23T02:33:43.267647+00:00','single',64,'scope = "single"
min_green = 64

[[rule]]
measure = "fraction"
channel = "green"
lower_percentile = 0.001
upper_percentile = 0.999
',0,36995,780051455527611347);
INSERT INTO "clean_set" VALUES(2,'wide',1,'2026-11-23T02:33:43.282409+00:00','all',64,'scope = "all"
min_green = 64

[[rule]]
measure = "intensity_mean"
channel = "green"
lower_percentile = 0.1
upper_percentile = 0.9
',0,50760,2903898503030186600);
CREATE TABLE clean_set_cell (
	clean_set_id INTEGER NOT NULL, 
	cell_id INTEGER NOT NULL, 
	label_id INTEGER NOT NULL, 
	clean INTEGER NOT NULL, 
	reason TEXT, 
	CONSTRAINT pk_clean_set_cell PRIMARY KEY (clean_set_id, cell_id, label_id), 
	CONSTRAINT fk_clean_set_cell_cell_id FOREIGN KEY(cell_id) REFERENCES cell (id) ON DELETE CASCADE, 
	CONSTRAINT fk_clean_set_cell_clean_set_id FOREIGN KEY(clean_set_id) REFERENCES clean_set (id) ON DELETE CASCADE, 
	CONSTRAINT fk_clean_set_cell_label_id FOREIGN KEY(label_id) REFERENCES label (id)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "clean_set_cell" VALUES(1,1,0,0,'below_lower');
INSERT INTO "clean_set_cell" VALUES(1,2,0,0,'above_upper');
INSERT INTO "clean_set_cell" VALUES(1,3,0,1,NULL);
INSERT INTO "clean_set_cell" VALUES(1,4,16,1,NULL);
INSERT INTO "clean_set_cell" VALUES(1,7,18,0,'below_lower');
INSERT INTO "clean_set_cell" VALUES(1,8,18,0,'above_upper');
INSERT INTO "clean_set_cell" VALUES(1,9,18,1,NULL);
INSERT INTO "clean_set_cell" VALUES(2,1,0,1,NULL);
INSERT INTO "clean_set_cell" VALUES(2,2,0,0,'below_lower');
INSERT INTO "clean_set_cell" VALUES(2,3,0,0,'above_upper');
INSERT INTO "clean_set_cell" VALUES(2,4,16,1,NULL);
INSERT INTO "clean_set_cell" VALUES(2,5,0,1,NULL);
INSERT INTO "clean_set_cell" VALUES(2,5,16,0,'below_lower');
INSERT INTO "clean_set_cell" VALUES(2,6,0,1,NULL);
INSERT INTO "clean_set_cell" VALUES(2,6,16,0,'below_lower');
INSERT INTO "clean_set_cell" VALUES(2,7,18,0,'above_upper');
INSERT INTO "clean_set_cell" VALUES(2,8,18,0,'below_lower');
INSERT INTO "clean_set_cell" VALUES(2,9,18,1,NULL);
CREATE TABLE clean_set_threshold (
	clean_set_id INTEGER NOT NULL, 
	rule_id INTEGER NOT NULL, 
	label_id INTEGER NOT NULL, 
	n INTEGER NOT NULL, 
	lower REAL, 
	upper REAL, 
	CONSTRAINT pk_clean_set_threshold PRIMARY KEY (clean_set_id, rule_id, label_id), 
	CONSTRAINT fk_clean_set_threshold_clean_set_id FOREIGN KEY(clean_set_id) REFERENCES clean_set (id) ON DELETE CASCADE, 
	CONSTRAINT fk_clean_set_threshold_label_id FOREIGN KEY(label_id) REFERENCES label (id), 
	CONSTRAINT fk_clean_set_threshold_rule_id FOREIGN KEY(rule_id) REFERENCES clean_rule (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "clean_set_threshold" VALUES(1,1,0,3,8.25016666666666620422e-01,9.31621212121212072254e-01);
INSERT INTO "clean_set_threshold" VALUES(1,1,1,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,2,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,3,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,4,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,5,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,6,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,7,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,8,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,9,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,10,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,11,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,12,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,13,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,14,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,15,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,16,1,0.8,0.8);
INSERT INTO "clean_set_threshold" VALUES(1,1,17,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(1,1,18,3,8.00066666666666703733e-01,8.63575757575757552153e-01);
INSERT INTO "clean_set_threshold" VALUES(2,2,0,3,1.2374545454545454959e+02,1.29366666666666674245e+02);
INSERT INTO "clean_set_threshold" VALUES(2,2,1,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,2,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,3,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,4,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,5,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,6,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,7,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,8,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,9,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,10,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,11,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,12,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,13,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,14,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,15,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,16,1,128.825,128.825);
INSERT INTO "clean_set_threshold" VALUES(2,2,17,0,NULL,NULL);
INSERT INTO "clean_set_threshold" VALUES(2,2,18,3,1.23643560606060603395e+02,1.25130833333333342234e+02);
CREATE TABLE failure (
	image_name TEXT NOT NULL, 
	uri TEXT NOT NULL, 
	code TEXT NOT NULL, 
	message TEXT NOT NULL, 
	first_seen TEXT NOT NULL, 
	last_seen TEXT NOT NULL, 
	run_id INTEGER NOT NULL, checksum INTEGER, 
	CONSTRAINT pk_failure PRIMARY KEY (image_name), 
	CONSTRAINT fk_failure_run_id FOREIGN KEY(run_id) REFERENCES ingest_run (id)
)
 STRICT

;
INSERT INTO "failure" VALUES('image-04','train/image-04_red.png','png','is cut short','2026-11-24T00:00:00.000000+00:00','2026-11-24T00:00:00.000000+00:00',2,2389563350321372649);
CREATE TABLE failure_file (
	image_name TEXT NOT NULL, 
	role TEXT NOT NULL, 
	uri TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	mtime_ns INTEGER NOT NULL, 
	CONSTRAINT pk_failure_file PRIMARY KEY (image_name, role), 
	CONSTRAINT ck_failure_file_role CHECK (role IN ('red', 'green', 'blue', 'yellow', 'cell_mask', 'nucleus_mask')), 
	CONSTRAINT fk_failure_file_image_name FOREIGN KEY(image_name) REFERENCES failure (image_name) ON DELETE CASCADE
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "failure_file" VALUES('image-04','red','train/image-04_red.png',10,20);
CREATE TABLE image (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	split TEXT, 
	root TEXT NOT NULL, 
	width INTEGER NOT NULL, 
	height INTEGER NOT NULL, 
	bit_depth INTEGER NOT NULL, 
	labels TEXT NOT NULL, 
	label_count INTEGER NOT NULL, 
	cell_count INTEGER NOT NULL, 
	ingested_at TEXT NOT NULL, 
	recipe_id INTEGER NOT NULL, gone_at TEXT, contents INTEGER, checksum INTEGER, 
	CONSTRAINT pk_image PRIMARY KEY (id), 
	CONSTRAINT ck_image_ck_image_bit_depth CHECK (bit_depth IN (8, 16)), 
	CONSTRAINT ck_image_ck_image_size CHECK (width > 0 AND height > 0), 
	CONSTRAINT fk_image_recipe_id FOREIGN KEY(recipe_id) REFERENCES recipe (id), 
	CONSTRAINT uq_image_name UNIQUE (name)
)
 STRICT

;
INSERT INTO "image" VALUES(1,'image-00','train','/lab/data',32,24,8,'5',1,3,'2026-11-23T02:33:43.235022+00:00',1,NULL,1860717616895121530,8548436236875136176);
INSERT INTO "image" VALUES(2,'image-01','train','/lab/data',32,24,8,'16',1,1,'2026-11-23T02:33:43.245348+00:00',1,NULL,8331886820889036641,3454461033240769472);
INSERT INTO "image" VALUES(3,'image-02','train','/lab/data',32,24,8,'0|16',2,2,'2026-11-23T02:33:43.251877+00:00',1,NULL,4339878622938620278,6109764358195182908);
INSERT INTO "image" VALUES(4,'image-03','train','/lab/data',32,24,8,'18',1,3,'2026-11-23T02:33:43.257227+00:00',1,NULL,2256465064825552718,1106148295696655527);
CREATE TABLE image_channel (
	image_id INTEGER NOT NULL, 
	channel TEXT NOT NULL, 
	background_level REAL, 
	histogram BLOB NOT NULL, 
	CONSTRAINT pk_image_channel PRIMARY KEY (image_id, channel), 
	CONSTRAINT ck_image_channel_ck_image_channel_channel CHECK (channel IN ('red', 'green', 'blue', 'yellow')), 
	CONSTRAINT fk_image_channel_image_id FOREIGN KEY(image_id) REFERENCES image (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "image_channel" VALUES(1,'red',61.0,X'789CED92CB16C2200C443B28AFF0EAC2FFFF56B5052C143CDD7ACCDD0021131842A0E4DC6ABC8D46B97BB241BB555A1DA5F764493D88E4AA8D912493B32106AB15515264B48BC6ABE5D7C1788D4912CA022769A77C8F629BE419F6ADAAC20B71E1F06603C74D6074E8D2151DFAB8CAD9E6218E62A8F7B19B9EBAD942397CAB358AAC55E551B465904B889251D3E7DDE9DF7F60A8BDE1B4C31347A5E77B13901F08E3BAF57B7C9A764C3E6BEA141F090EC1E1E5C4F2D534C3300CC3300CC3307FC51375110301');
INSERT INTO "image_channel" VALUES(1,'green',6.16499999999999772617e+01,X'789CED925B1283200C45BD5421212876BAFFBDB62A95F2A8FDEFE4386302B92109EAFDBA8A4416CF13595AEECB4D46E6992908DB8788A33950A051447876E22DC7C951B00B458E6EF82B70B987EC00AD1A6574B3AFC7D4A9C9C7211836C13B6A9AC3F0B9571443A33DAB7F96437FA89F5C2515B36F15CC6E8FA1815A3AC020AFCCAE413941BEB45E1B284CBE26E446AB31D1389D63BF87DABB05AA585DE1EC3EF593D63065B45F19C8F3B7FF4BB7F12323E59D5F39BD4CAB561445511445511445199E76180301');
INSERT INTO "image_channel" VALUES(1,'blue',62.0,X'789CED91DD0E83200C8539C400E52FFAFE2F3B65C0A81277B1DD6CE99780E1B485D39A9C713E7A5A6D72742C4AC1678A14A2B1D16E644D3279A1608CCD66B37B640921E7B0B918FCAAFE12DC2B9867E926E05A7F4D474D430D1CBB56C361B80C5C2B5239EA520EF420F7D94FA33C35F7267453A3C0DCF68F6E7B978B9D9670ED6AD7304CA5D9472DE315FCC9D3E031D8F89CE9ECC0D7AB33740FA32DA0FDA3E136FDEC0CD0B356541FD2E9517E0D7BE7EC934DE92BC31004411004411004E18779006D760301');
INSERT INTO "image_channel" VALUES(1,'yellow',62.0,X'789CED92DB0E84200C4477AA2BB45CE2FF7FEDAE11918A9ACD3E9A9E84182E53A6839CA34B8EE7B76409639289B30BDE8F3C897331FB24E2E71038678E29048991137B8A99C54509AF07828B29FA7DEC8B4A4517B5F43134FAE6348ED5CAA965117B19AC3B38CAAB85654A9DFB735F3750AF40FDD06659F752EDB5FDE02441E0DACADA6491BED0B5B04A495FBB8CA133FC2B6D5AD0D35B417D9F12C8D7DA406D0595DEE19FD119F4EFB4DD413A5594D871AE3AB7FA4F2886611886611886613C840F70450301');
INSERT INTO "image_channel" VALUES(2,'red',6.17300000000000181898e+01,X'789CED8D6B0EC330088347546D809D924ABDFF592B758DAA3EB6036C7C7F3060CBF0B1199FAD4D8C208C08BA1A2BA01146F37100403854ED3579789D19ADAA55853E7E0FE953767DFAF551E4FA5E6FF2B6944DCA9EEB89720C6CFBA9E073F9ADE11B72684F922449FE9D057A060301');
INSERT INTO "image_channel" VALUES(2,'green',62.0,X'789CED8EDB0AC3300C43E3C2BA5AB29DB6D0FFFFD531D65BBA87BDAF3E6027062129EC61B41848468F30758B9E3317E8C0A76234AD8087BAD3AACF15150A35A51A2696BF44E47CACF3792EBF6395D2E8DE26AD8B349226EE1A2EBBF6CB626B23DBB53738CA95EE574692244972775E74050301');
INSERT INTO "image_channel" VALUES(2,'blue',62.0,X'789CED8F010AC3200C458DD099986F9C74BBFF550B5D4B75B80BAC798888FF85AFA9B2BC2CD7567302440C0BD7968BB1A8AE050A6135883DC0FA2CC26FB5C48D8122D01CFE15DAD7E4F60C6937287CF66F3D8E0357183B89C643FC9984A3A7EF9E19C733C652EAD5C99F1CC7719C3BB20175F60301');
INSERT INTO "image_channel" VALUES(2,'yellow',62.0,X'789CED8F590E80300844251ACB56A4DEFFB01AE382CB0DE47D4021CC1468D026A24A55C86673AACCAC8EE85EA9CDE86AE858786222161342132F63C186D545BB3F008F08671BE0566D194ED9F50C4E10B5873898ACA18F1F47138863FBF06D97F7D6DFB7244992247F670176A60301');
INSERT INTO "image_channel" VALUES(3,'red',62.0,X'789CED90DD0EC32008857B48A3A2D0DA2C7BFF57DD8FEDACAE26BB5EF82E5438084735B1C8720FCEC79842BA714C739225650EAC5E56F5CABC49088E353A2F6E65CE31AAF0EA45F3F49FA06C3412CA199D48ADDE1697E87D874E325E19D4521CB9E1D8D2E479853ED15E7F3DBCEFF52BA8C68126554DE09C03EDC6F7F5DA3DCAF3F1A5CD474055E8BCA35968F8324CCD9F1A8661188661189507132D0301');
INSERT INTO "image_channel" VALUES(3,'green',62.0,X'789CED90D10E833008457BEBEC044ABB25FBFF6F5D745631D5C4E785F3D094DB0B05F4F979D344957352AA2295746411CA2911953C66D24CAC5A52159D5E2C9C941F45B40C52B9847F06DBF10B71E90C21362FE67B73C2D44073EDB510F77F6609C6615A382A3327FAA16574DA99EF36B09374A9ED09E1B832ACA20917A2710D30BB3217B3F52563AD8E6D3E5CF94DC78EE3388EE3384ECF1711F60301');
INSERT INTO "image_channel" VALUES(3,'blue',62.0,X'789CED900D0EC3200885654B5001B5DDFD0F3BA371FE753DC0C617532DC893075921670539B2A07D8524279F6CC5277B20078C8EBCD844E47CF01CA23F4818910EF421637E18787C89E795C97BFE0C41636AC1275A0FD02E8099D33DD354F787DAEDB2AD4ABD0296AA4DEA3A749F85A1C12E3A7B9A0D2C4A50C6D4A5CA4047FB53DBB0540FB275D8E5F779D9E23EBCDDCFBD7F4551144551947FE10D145C0301');
INSERT INTO "image_channel" VALUES(3,'yellow',61.0,X'789CED905D0E032108841DB3AB08FE64D397DEFFA44DDCD855D7F6002DDF8BE01006901832EDC965E1F0D82406B7B1644F99889F29FB1484980EDE23171F4B38984ACC257909A588333F02E6084B01E39731B666B6FE62946ADEBA6152D019A07B5663D9B3C35C60CDCDF1F35A5FCB162266A58FB0A8ED17BC5CEDE2262DEA2C80DB69DB51D067B3BD1D87C779AAF74097C36A0F455114455194FFE4050FA20301');
INSERT INTO "image_channel" VALUES(4,'red',6.16499999999999772617e+01,X'789CED92D10E83200C4569874A0B95ECFF7F769A28143066BE6E3D26A8B7B7500A2CB27A59A22749F28E8BE418C33431338520EC690D9499D794988839CD29F24CAF34FB2C9217F7C3C031C2F189DB0370E5DBC5AB8883CE54276DB28E5C684DCD94A0DF75708DA50F7EC7ADB704CF628A80501704A59D22943D37D3DCAC8D3A4345A133C2A8ED89D8A5A1EADA937EDCD409AED919AA2383AEF3EA30BB5DEDFF9D502FD958080ED2761175EBCBB2A353D7DD5C46C3300CC3300CC330FE900F77AB0301');
INSERT INTO "image_channel" VALUES(4,'green',62.0,X'789CED92DD0E83200C857748105A41E2FBBFEC7E82B4A02CCBEEB6F4BBD0507AEA398D29C518887C64E610CABA3DDE71E31C628A65610A399735F3C231F9C4C9EF9E6222DAA964265A6F7F02DE5ED407542BB404830452D2577047096A406D861CA06BF2D1C1239A0B7D390D320A2FCB438A8B2E7735F0C80B110CB6EBD13D5B203D7AA33757E54E44505D27E79D585BC434E3274C64D5CA91461BACD9DD59DFFD2BCA539BD2C2F57B858C962FBC4E277768D26E4DD30D7CB915C3300CC3300CC3307E9F3B73BA0301');
INSERT INTO "image_channel" VALUES(4,'blue',62.0,X'789CED916D0F83200C843D928DBE886EFFFFCF6E6A8022B8F879E993286AAF470F85253D13CB3213AFFA6095189535AD914889DF2FA54451A2C8A2A4C2DF1B6FAA99674DC4D31F815B05EC1730212FAD6AAF1FD5B11526DB83D0F4774D239FAC44AFAC72A0D89D47BC186CF886C634A00A4C07AE272A53006618E36F4CABB85A76CEB51FB7E2E097AC6B189C7F9DE714308783D9239C72D8D0F997944FE8232057CC93D9AFDA37E7782C215C64701CC7711CC7711CC7D9F80078B50301');
INSERT INTO "image_channel" VALUES(4,'yellow',62.0,X'789CED91C11283200C445D46852420FFFFB7AD5524809D9E7A69F374C6B026212C7965110EE2B72C9989C29A0379CAD1B327F65B4C694EB450E4146589C4BCF11CD9FBC049A24CBF069ECFBDAEBE18B3A0937405868CD2E2501D5E4A7971B547DFA20AEEC8ACDB6108BE83DA07D3ED7901A0156A45EFC81E3B558FB3E75558E2DA09F59F36A97456BBF713DF2E3FD00CDC798C3779985CB9C84BD653159B9AF57186CEDD6ED85D747A7DDA857217ADF3AE77C2300CC3300CC3308C7FE70170580301');
CREATE TABLE image_file (
	image_id INTEGER NOT NULL, 
	role TEXT NOT NULL, 
	uri TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	mtime_ns INTEGER NOT NULL, 
	sha256 TEXT NOT NULL, 
	CONSTRAINT pk_image_file PRIMARY KEY (image_id, role), 
	CONSTRAINT ck_image_file_ck_image_file_role CHECK (role IN ('red', 'green', 'blue', 'yellow', 'cell_mask', 'nucleus_mask')), 
	CONSTRAINT fk_image_file_image_id FOREIGN KEY(image_id) REFERENCES image (id) ON DELETE CASCADE
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "image_file" VALUES(1,'blue','train/image-00_blue.png',858,1795401222981801329,'e1bd78cd0727018f8ffdaa5149e40a55ffe5c6d9b27cb138cf41640d29746d46');
INSERT INTO "image_file" VALUES(1,'cell_mask','hpa_cell_mask/image-00.npz',242,1795401222982210757,'e80f78daabffbfbaa178744170a8a8783f4abf65da51b7d02b8dbc04abcc4053');
INSERT INTO "image_file" VALUES(1,'green','train/image-00_green.png',852,1795401222981711596,'7f075a4c626e8d69178e906c45f7ec66521e83a3113a8fe59b0f54ddd753a302');
INSERT INTO "image_file" VALUES(1,'nucleus_mask','hpa_nuclei_mask/image-00.npz',233,1795401222982473047,'2bf4f771e47725276f31b908fbd27a5ec718bc5067bbfd26f4ab41fa43caf7a1');
INSERT INTO "image_file" VALUES(1,'red','train/image-00_red.png',857,1795401222981588192,'632550187a65552a9df801e75ba10d1f19f81c00b6d10bf93d5411cd821695bb');
INSERT INTO "image_file" VALUES(1,'yellow','train/image-00_yellow.png',854,1795401222981886996,'2428fab9dd8df4189ef27bf997e6869336cbb75dc1ba73a33aade4577101bc7e');
INSERT INTO "image_file" VALUES(2,'blue','train/image-01_blue.png',812,1795401222982965508,'f4b5703141d82ac66abd76f9e37f3ee7fee3e0c5dfdbea0918e6c757acca440e');
INSERT INTO "image_file" VALUES(2,'cell_mask','hpa_cell_mask/image-01.npz',226,1795401222983186486,'24dcbc7d76f1250fa429f17444eb40e3a9fcfa75a78e8e4aff9e0d8f80691daf');
INSERT INTO "image_file" VALUES(2,'green','train/image-01_green.png',813,1795401222982881363,'2f6a1a85b38aafafe3959af9e073b91e80ed5a926617dac61725b52178d6e94f');
INSERT INTO "image_file" VALUES(2,'nucleus_mask','hpa_nuclei_mask/image-01.npz',225,1795401222983371351,'337f9afcd252bd1235f1d967d1f24a75b5f55c40de4f52039eb1f54f71f4de77');
INSERT INTO "image_file" VALUES(2,'red','train/image-01_red.png',812,1795401222982788225,'d1a962a3a6de9f1847c9e4534c05bb351ef7d2b6866315b3305cb0a646f10310');
INSERT INTO "image_file" VALUES(2,'yellow','train/image-01_yellow.png',805,1795401222983041020,'d4ff737101966361d136361b4d21d3d0277ab6f14876c5fad39b6eb97951cbaf');
INSERT INTO "image_file" VALUES(3,'blue','train/image-02_blue.png',828,1795401222983839116,'239396f001d6f957bbc77e0bd1bbe8dfdd99d275e3230fa085d53c08f7231df6');
INSERT INTO "image_file" VALUES(3,'cell_mask','hpa_cell_mask/image-02.npz',234,1795401222984138090,'36007ab9030024035640cf6e457491347837fc6fbde2ebdbb5a216830228fc08');
INSERT INTO "image_file" VALUES(3,'green','train/image-02_green.png',829,1795401222983757575,'7d15b84ca347ed64b8ee68d8fe03d8756baad40fe836cb64faaf9f39e87dedeb');
INSERT INTO "image_file" VALUES(3,'nucleus_mask','hpa_nuclei_mask/image-02.npz',229,1795401222984329054,'6c333165fc2e5921519e3eb101ba2578d12a9826fceedf4b622e74e96c31f292');
INSERT INTO "image_file" VALUES(3,'red','train/image-02_red.png',835,1795401222983670345,'9e96fc3b42d3e6944c5d8dd1e6ca59e7e401cecd96da267ea9e213e1c965e173');
INSERT INTO "image_file" VALUES(3,'yellow','train/image-02_yellow.png',838,1795401222983915850,'c3450f8c8d1fa0c2c9ebb0cf2e9259e2a42a71784906f809f1fb6afafc1e9661');
INSERT INTO "image_file" VALUES(4,'blue','train/image-03_blue.png',860,1795401222985085727,'e24c72a63748bac010399f7a6c2fe4e1f4eed3f5a2e9fd8036cca387cf393cbf');
INSERT INTO "image_file" VALUES(4,'cell_mask','hpa_cell_mask/image-03.npz',242,1795401222985310792,'e80f78daabffbfbaa178744170a8a8783f4abf65da51b7d02b8dbc04abcc4053');
INSERT INTO "image_file" VALUES(4,'green','train/image-03_green.png',855,1795401222985001943,'ae0bdc63ce450dff48d1dc010b58b9610062cf322cf76c7e6b8a76e91877b97d');
INSERT INTO "image_file" VALUES(4,'nucleus_mask','hpa_nuclei_mask/image-03.npz',233,1795401222985510368,'2bf4f771e47725276f31b908fbd27a5ec718bc5067bbfd26f4ab41fa43caf7a1');
INSERT INTO "image_file" VALUES(4,'red','train/image-03_red.png',857,1795401222984880483,'70652496e8dfed92bb7dfebf8a8cb6cc38355670843c34e62da8a6769f106605');
INSERT INTO "image_file" VALUES(4,'yellow','train/image-03_yellow.png',860,1795401222985163142,'9d633a6aa03a08245c7dbd0f2dc232e13fc09c86782080f88abc2a8147b2366c');
CREATE TABLE image_label (
	image_id INTEGER NOT NULL, 
	label_id INTEGER NOT NULL, 
	CONSTRAINT pk_image_label PRIMARY KEY (image_id, label_id), 
	CONSTRAINT fk_image_label_image_id FOREIGN KEY(image_id) REFERENCES image (id) ON DELETE CASCADE, 
	CONSTRAINT fk_image_label_label_id FOREIGN KEY(label_id) REFERENCES label (id)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "image_label" VALUES(3,0);
INSERT INTO "image_label" VALUES(1,5);
INSERT INTO "image_label" VALUES(2,16);
INSERT INTO "image_label" VALUES(3,16);
INSERT INTO "image_label" VALUES(4,18);
CREATE TABLE ingest_run (
	id INTEGER NOT NULL, 
	root TEXT NOT NULL, 
	split TEXT, 
	version TEXT NOT NULL, 
	started_at TEXT NOT NULL, 
	finished_at TEXT, 
	added INTEGER NOT NULL, 
	changed INTEGER NOT NULL, 
	relabelled INTEGER NOT NULL, 
	rejected INTEGER NOT NULL, 
	cells INTEGER NOT NULL, remeasured INTEGER DEFAULT 0 NOT NULL, gone INTEGER DEFAULT 0 NOT NULL, checksum INTEGER, 
	CONSTRAINT pk_ingest_run PRIMARY KEY (id)
)
 STRICT

;
INSERT INTO "ingest_run" VALUES(1,'/lab/data','train','0.1.0','2026-11-23T02:33:43.218053+00:00','2026-11-23T02:33:43.262439+00:00',4,0,0,1,9,0,0,1167987890245860327);
INSERT INTO "ingest_run" VALUES(2,'/lab/data','train','0.1.0','2026-11-23T02:33:43.289464+00:00','2026-11-23T02:33:43.294289+00:00',0,0,1,1,0,0,0,4257553010738117706);
CREATE TABLE label (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	CONSTRAINT pk_label PRIMARY KEY (id), 
	CONSTRAINT uq_label_name UNIQUE (name)
)
 STRICT

;
INSERT INTO "label" VALUES(0,'Nucleoplasm');
INSERT INTO "label" VALUES(1,'Nuclear membrane');
INSERT INTO "label" VALUES(2,'Nucleoli');
INSERT INTO "label" VALUES(3,'Nucleoli fibrillar center');
INSERT INTO "label" VALUES(4,'Nuclear speckles');
INSERT INTO "label" VALUES(5,'Nuclear bodies');
INSERT INTO "label" VALUES(6,'Endoplasmic reticulum');
INSERT INTO "label" VALUES(7,'Golgi apparatus');
INSERT INTO "label" VALUES(8,'Intermediate filaments');
INSERT INTO "label" VALUES(9,'Actin filaments');
INSERT INTO "label" VALUES(10,'Microtubules');
INSERT INTO "label" VALUES(11,'Mitotic spindle');
INSERT INTO "label" VALUES(12,'Centrosome');
INSERT INTO "label" VALUES(13,'Plasma membrane');
INSERT INTO "label" VALUES(14,'Mitochondria');
INSERT INTO "label" VALUES(15,'Aggresome');
INSERT INTO "label" VALUES(16,'Cytosol');
INSERT INTO "label" VALUES(17,'Vesicles and punctate cytosolic patterns');
INSERT INTO "label" VALUES(18,'Negative');
CREATE TABLE recipe (
	id INTEGER NOT NULL, 
	background_percentile REAL NOT NULL, 
	version INTEGER NOT NULL, 
	current INTEGER NOT NULL, checksum INTEGER, 
	CONSTRAINT pk_recipe PRIMARY KEY (id), 
	CONSTRAINT ck_recipe_ck_recipe_background_percentile CHECK (background_percentile BETWEEN 0 AND 1), 
	CONSTRAINT uq_recipe_background_percentile_version UNIQUE (background_percentile, version)
)
 STRICT

;
INSERT INTO "recipe" VALUES(1,0.99,1,1,5290994137961659634);
CREATE UNIQUE INDEX uq_recipe_current ON recipe (current) WHERE current;
CREATE INDEX ix_clean_rule_clean_set_id ON clean_rule (clean_set_id);
CREATE INDEX ix_image_label_label_id ON image_label (label_id);
CREATE INDEX ix_clean_set_cell_cell_id ON clean_set_cell (cell_id);
CREATE VIEW cell_stats AS SELECT cell.id AS cell_id, image.name AS image_name, image.split, cell.mask_id, image.labels, image_label.label_id, cell.x, cell.y, cell.width, cell.height, cell.area, cell.touches_border, cell.pieces, cell.nucleus_area, red.intensity_min AS red_intensity_min, red.intensity_max AS red_intensity_max, red.intensity_mean AS red_intensity_mean, red.intensity_std AS red_intensity_std, red.intensity_median AS red_intensity_median, red.saturated AS red_saturated, red.entropy AS red_entropy, red.brenner AS red_brenner, red.fraction AS red_fraction, red.fraction_notebook AS red_fraction_notebook, green.intensity_min AS green_intensity_min, green.intensity_max AS green_intensity_max, green.intensity_mean AS green_intensity_mean, green.intensity_std AS green_intensity_std, green.intensity_median AS green_intensity_median, green.saturated AS green_saturated, green.entropy AS green_entropy, green.brenner AS green_brenner, green.fraction AS green_fraction, green.fraction_notebook AS green_fraction_notebook, blue.intensity_min AS blue_intensity_min, blue.intensity_max AS blue_intensity_max, blue.intensity_mean AS blue_intensity_mean, blue.intensity_std AS blue_intensity_std, blue.intensity_median AS blue_intensity_median, blue.saturated AS blue_saturated, blue.entropy AS blue_entropy, blue.brenner AS blue_brenner, blue.fraction AS blue_fraction, blue.fraction_notebook AS blue_fraction_notebook, yellow.intensity_min AS yellow_intensity_min, yellow.intensity_max AS yellow_intensity_max, yellow.intensity_mean AS yellow_intensity_mean, yellow.intensity_std AS yellow_intensity_std, yellow.intensity_median AS yellow_intensity_median, yellow.saturated AS yellow_saturated, yellow.entropy AS yellow_entropy, yellow.brenner AS yellow_brenner, yellow.fraction AS yellow_fraction, yellow.fraction_notebook AS yellow_fraction_notebook 
FROM cell JOIN image ON image.id = cell.image_id LEFT OUTER JOIN image_label ON image_label.image_id = image.id AND image.label_count = 1 JOIN cell_channel AS red ON red.cell_id = cell.id AND red.channel = 'red' JOIN cell_channel AS green ON green.cell_id = cell.id AND green.channel = 'green' JOIN cell_channel AS blue ON blue.cell_id = cell.id AND blue.channel = 'blue' JOIN cell_channel AS yellow ON yellow.cell_id = cell.id AND yellow.channel = 'yellow' 
WHERE image.gone_at IS NULL;
CREATE VIEW label_threshold AS SELECT clean_rule.clean_set_id, clean_rule.id AS rule_id, clean_set.name AS clean_set, clean_set.version, label.id AS label_id, label.name AS label, clean_rule.measure, clean_rule.channel, coalesce(found.n, 0) AS n, coalesce(found.lower, clean_rule.lower_value) AS lower, coalesce(found.upper, clean_rule.upper_value) AS upper 
FROM clean_rule JOIN clean_set ON clean_set.id = clean_rule.clean_set_id JOIN label ON clean_rule.label_id IS NULL OR clean_rule.label_id = label.id LEFT OUTER JOIN (SELECT grouped.rule_id AS rule_id, grouped.label_id AS label_id, grouped.n AS n, CASE WHEN (grouped.lower_t < 0.5) THEN grouped.lower_a + (coalesce(grouped.lower_b, grouped.lower_a) - grouped.lower_a) * grouped.lower_t ELSE coalesce(grouped.lower_b, grouped.lower_a) - (coalesce(grouped.lower_b, grouped.lower_a) - grouped.lower_a) * (1 - grouped.lower_t) END AS lower, CASE WHEN (grouped.upper_t < 0.5) THEN grouped.upper_a + (coalesce(grouped.upper_b, grouped.upper_a) - grouped.upper_a) * grouped.upper_t ELSE coalesce(grouped.upper_b, grouped.upper_a) - (coalesce(grouped.upper_b, grouped.upper_a) - grouped.upper_a) * (1 - grouped.upper_t) END AS upper 
FROM (SELECT ranked.rule_id AS rule_id, ranked.label_id AS label_id, max(ranked.n) AS n, max(CASE WHEN (ranked.position <= (ranked.n - 1) * ranked.lower_percentile) THEN ranked.value END) AS lower_a, min(CASE WHEN (ranked.position > (ranked.n - 1) * ranked.lower_percentile) THEN ranked.value END) AS lower_b, max((ranked.n - 1) * ranked.lower_percentile) - max(CASE WHEN (ranked.position <= (ranked.n - 1) * ranked.lower_percentile) THEN ranked.position END) AS lower_t, max(CASE WHEN (ranked.position <= (ranked.n - 1) * ranked.upper_percentile) THEN ranked.value END) AS upper_a, min(CASE WHEN (ranked.position > (ranked.n - 1) * ranked.upper_percentile) THEN ranked.value END) AS upper_b, max((ranked.n - 1) * ranked.upper_percentile) - max(CASE WHEN (ranked.position <= (ranked.n - 1) * ranked.upper_percentile) THEN ranked.position END) AS upper_t 
FROM (SELECT rule_value.rule_id AS rule_id, rule_value.lower_percentile AS lower_percentile, rule_value.upper_percentile AS upper_percentile, rule_value.label_id AS label_id, rule_value.cell_id AS cell_id, rule_value.value AS value, row_number() OVER (PARTITION BY rule_value.rule_id, rule_value.label_id ORDER BY rule_value.value) - 1 AS position, count(*) OVER (PARTITION BY rule_value.rule_id, rule_value.label_id ORDER BY rule_value.value ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS n 
FROM (SELECT clean_rule.id AS rule_id, clean_rule.lower_percentile AS lower_percentile, clean_rule.upper_percentile AS upper_percentile, image_label.label_id AS label_id, cell.id AS cell_id, CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END AS value 
FROM clean_rule JOIN image_label ON clean_rule.label_id IS NULL OR clean_rule.label_id = image_label.label_id JOIN image ON image.id = image_label.image_id AND image.label_count = 1 AND image.gone_at IS NULL JOIN cell ON cell.image_id = image.id LEFT OUTER JOIN cell_channel ON cell_channel.cell_id = cell.id AND cell_channel.channel = clean_rule.channel 
WHERE CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END IS NOT NULL) AS rule_value) AS ranked 
WHERE ranked.position = 0 OR ranked.position > (ranked.n - 1) * ranked.lower_percentile - 1 AND ranked.position <= (ranked.n - 1) * ranked.lower_percentile + 1 OR ranked.position > (ranked.n - 1) * ranked.upper_percentile - 1 AND ranked.position <= (ranked.n - 1) * ranked.upper_percentile + 1 GROUP BY ranked.rule_id, ranked.label_id) AS grouped) AS found ON found.rule_id = clean_rule.id AND found.label_id = label.id;
CREATE VIEW clean_cell AS SELECT clean_set.id AS clean_set_id, clean_set.name AS clean_set, clean_set.version, cell.id AS cell_id, image.name AS image_name, cell.mask_id, label.id AS label_id, label.name AS label, clean_rule.measure, clean_rule.channel, CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END AS value, clean_set_threshold.lower, clean_set_threshold.upper, clean_set_cell.clean, clean_set_cell.reason, ranks.rank, now.clean AS live 
FROM clean_set_cell JOIN clean_set ON clean_set.id = clean_set_cell.clean_set_id JOIN clean_rule ON clean_rule.clean_set_id = clean_set.id JOIN cell ON cell.id = clean_set_cell.cell_id JOIN image ON image.id = cell.image_id AND image.gone_at IS NULL JOIN label ON label.id = clean_set_cell.label_id LEFT OUTER JOIN cell_channel ON cell_channel.cell_id = cell.id AND cell_channel.channel = clean_rule.channel LEFT OUTER JOIN clean_set_threshold ON clean_set_threshold.rule_id = clean_rule.id AND clean_set_threshold.label_id = label.id LEFT OUTER JOIN (SELECT clean_set.id AS clean_set_id, clean_rule.id AS rule_id, cell.id AS cell_id, image_label.label_id AS label_id, CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END AS value, label_threshold.lower AS lower, label_threshold.upper AS upper, CASE WHEN (CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END IS NULL AND clean_rule.measure = 'fraction') THEN 'no_background' WHEN (CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END IS NULL) THEN 'no_value' WHEN (green.intensity_max < clean_set.min_green AND image.labels != '18') THEN 'dark' WHEN (clean_rule.lower_percentile IS NOT NULL AND label_threshold.lower IS NULL OR clean_rule.upper_percentile IS NOT NULL AND label_threshold.upper IS NULL) THEN 'no_threshold' WHEN (CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END < label_threshold.lower) THEN 'below_lower' WHEN (CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END > label_threshold.upper) THEN 'above_upper' ELSE CAST(NULL AS TEXT) END IS NULL AS clean, CASE WHEN (CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END IS NULL AND clean_rule.measure = 'fraction') THEN 'no_background' WHEN (CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END IS NULL) THEN 'no_value' WHEN (green.intensity_max < clean_set.min_green AND image.labels != '18') THEN 'dark' WHEN (clean_rule.lower_percentile IS NOT NULL AND label_threshold.lower IS NULL OR clean_rule.upper_percentile IS NOT NULL AND label_threshold.upper IS NULL) THEN 'no_threshold' WHEN (CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END < label_threshold.lower) THEN 'below_lower' WHEN (CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END > label_threshold.upper) THEN 'above_upper' ELSE CAST(NULL AS TEXT) END AS reason 
FROM clean_set JOIN clean_rule ON clean_rule.clean_set_id = clean_set.id JOIN image ON image.gone_at IS NULL AND (clean_set.scope = 'all' OR image.label_count = 1) JOIN image_label ON image_label.image_id = image.id AND (clean_rule.label_id IS NULL OR clean_rule.label_id = image_label.label_id) JOIN cell ON cell.image_id = image.id JOIN cell_channel AS green ON green.cell_id = cell.id AND green.channel = 'green' LEFT OUTER JOIN cell_channel ON cell_channel.cell_id = cell.id AND cell_channel.channel = clean_rule.channel JOIN label_threshold ON label_threshold.rule_id = clean_rule.id AND label_threshold.label_id = image_label.label_id) AS now ON now.rule_id = clean_rule.id AND now.cell_id = cell.id AND now.label_id = label.id LEFT OUTER JOIN (SELECT made.rule_id AS rule_id, made.label_id AS label_id, made.cell_id AS cell_id, rank() OVER (PARTITION BY made.rule_id, made.label_id ORDER BY made.value) AS rank 
FROM (SELECT clean_rule.id AS rule_id, clean_rule.lower_percentile AS lower_percentile, clean_rule.upper_percentile AS upper_percentile, image_label.label_id AS label_id, cell.id AS cell_id, CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END AS value 
FROM clean_rule JOIN image_label ON clean_rule.label_id IS NULL OR clean_rule.label_id = image_label.label_id JOIN image ON image.id = image_label.image_id AND image.label_count = 1 AND image.gone_at IS NULL JOIN cell ON cell.image_id = image.id LEFT OUTER JOIN cell_channel ON cell_channel.cell_id = cell.id AND cell_channel.channel = clean_rule.channel 
WHERE CASE clean_rule.measure WHEN 'x' THEN CAST(cell.x AS REAL) WHEN 'y' THEN CAST(cell.y AS REAL) WHEN 'width' THEN CAST(cell.width AS REAL) WHEN 'height' THEN CAST(cell.height AS REAL) WHEN 'area' THEN CAST(cell.area AS REAL) WHEN 'pieces' THEN CAST(cell.pieces AS REAL) WHEN 'nucleus_area' THEN CAST(cell.nucleus_area AS REAL) WHEN 'intensity_min' THEN CAST(cell_channel.intensity_min AS REAL) WHEN 'intensity_max' THEN CAST(cell_channel.intensity_max AS REAL) WHEN 'intensity_mean' THEN CAST(cell_channel.intensity_mean AS REAL) WHEN 'intensity_std' THEN CAST(cell_channel.intensity_std AS REAL) WHEN 'intensity_median' THEN CAST(cell_channel.intensity_median AS REAL) WHEN 'saturated' THEN CAST(cell_channel.saturated AS REAL) WHEN 'entropy' THEN CAST(cell_channel.entropy AS REAL) WHEN 'brenner' THEN CAST(cell_channel.brenner AS REAL) WHEN 'fraction' THEN CAST(cell_channel.fraction AS REAL) WHEN 'fraction_notebook' THEN CAST(cell_channel.fraction_notebook AS REAL) END IS NOT NULL) AS made) AS ranks ON ranks.rule_id = clean_rule.id AND ranks.cell_id = cell.id AND ranks.label_id = label.id;
CREATE VIEW label_summary AS SELECT label.id AS label_id, label.name AS label, coalesce(counts.images, 0) AS images, coalesce(counts.single_images, 0) AS single_images, coalesce(counts.cells, 0) AS cells, coalesce(counts.single_cells, 0) AS single_cells, green_fraction_median.green_fraction_median, clean_share.clean_share 
FROM label LEFT OUTER JOIN (SELECT image_label.label_id AS label_id, count(*) AS images, count(CASE WHEN (image.label_count = 1) THEN 1 END) AS single_images, CAST(sum(image.cell_count) AS INTEGER) AS cells, CAST(sum(CASE WHEN (image.label_count = 1) THEN image.cell_count ELSE 0 END) AS INTEGER) AS single_cells 
FROM image_label JOIN image ON image.id = image_label.image_id 
WHERE image.gone_at IS NULL GROUP BY image_label.label_id) AS counts ON counts.label_id = label.id LEFT OUTER JOIN (SELECT grouped."key" AS "key", grouped.n AS n, CASE WHEN (grouped.green_fraction_median_t < 0.5) THEN grouped.green_fraction_median_a + (coalesce(grouped.green_fraction_median_b, grouped.green_fraction_median_a) - grouped.green_fraction_median_a) * grouped.green_fraction_median_t ELSE coalesce(grouped.green_fraction_median_b, grouped.green_fraction_median_a) - (coalesce(grouped.green_fraction_median_b, grouped.green_fraction_median_a) - grouped.green_fraction_median_a) * (1 - grouped.green_fraction_median_t) END AS green_fraction_median 
FROM (SELECT ranked."key" AS "key", max(ranked.n) AS n, max(CASE WHEN (ranked.position <= (ranked.n - 1) * 0.5) THEN ranked.value END) AS green_fraction_median_a, min(CASE WHEN (ranked.position > (ranked.n - 1) * 0.5) THEN ranked.value END) AS green_fraction_median_b, max((ranked.n - 1) * 0.5) - max(CASE WHEN (ranked.position <= (ranked.n - 1) * 0.5) THEN ranked.position END) AS green_fraction_median_t 
FROM (SELECT green_fraction_median_value."key" AS "key", green_fraction_median_value.value AS value, row_number() OVER (PARTITION BY green_fraction_median_value."key" ORDER BY green_fraction_median_value.value) - 1 AS position, count(*) OVER (PARTITION BY green_fraction_median_value."key" ORDER BY green_fraction_median_value.value ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS n 
FROM (SELECT image_label.label_id AS "key", cell_channel.fraction AS value 
FROM cell JOIN cell_channel ON cell_channel.cell_id = cell.id AND cell_channel.channel = 'green' JOIN image_label ON image_label.image_id = cell.image_id JOIN image ON image.id = cell.image_id AND image.label_count = 1 AND image.gone_at IS NULL 
WHERE cell_channel.fraction IS NOT NULL) AS green_fraction_median_value) AS ranked 
WHERE ranked.position = 0 OR ranked.position > (ranked.n - 1) * 0.5 - 1 AND ranked.position <= (ranked.n - 1) * 0.5 + 1 GROUP BY ranked."key") AS grouped) AS green_fraction_median ON green_fraction_median."key" = label.id LEFT OUTER JOIN (SELECT clean_set_cell.label_id AS "key", CAST(count(CASE WHEN clean_set_cell.clean THEN 1 END) AS REAL) / (count(*) + 0.0) AS clean_share 
FROM clean_set_cell JOIN cell ON cell.id = clean_set_cell.cell_id JOIN image ON image.id = cell.image_id AND image.gone_at IS NULL 
WHERE clean_set_cell.clean_set_id = (SELECT max(clean_set.id) AS max_1 
FROM clean_set) GROUP BY clean_set_cell.label_id) AS clean_share ON clean_share."key" = label.id;
CREATE VIEW image_summary AS SELECT image.id AS image_id, image.name AS image_name, image.split, image.labels, image.label_count, image.width, image.height, image.cell_count AS cells, area_median.area_median, green_fraction_median.green_fraction_median, clean_share.clean_share 
FROM image LEFT OUTER JOIN (SELECT grouped."key" AS "key", grouped.n AS n, CASE WHEN (grouped.area_median_t < 0.5) THEN grouped.area_median_a + (coalesce(grouped.area_median_b, grouped.area_median_a) - grouped.area_median_a) * grouped.area_median_t ELSE coalesce(grouped.area_median_b, grouped.area_median_a) - (coalesce(grouped.area_median_b, grouped.area_median_a) - grouped.area_median_a) * (1 - grouped.area_median_t) END AS area_median 
FROM (SELECT ranked."key" AS "key", max(ranked.n) AS n, max(CASE WHEN (ranked.position <= (ranked.n - 1) * 0.5) THEN ranked.value END) AS area_median_a, min(CASE WHEN (ranked.position > (ranked.n - 1) * 0.5) THEN ranked.value END) AS area_median_b, max((ranked.n - 1) * 0.5) - max(CASE WHEN (ranked.position <= (ranked.n - 1) * 0.5) THEN ranked.position END) AS area_median_t 
FROM (SELECT area_median_value."key" AS "key", area_median_value.value AS value, row_number() OVER (PARTITION BY area_median_value."key" ORDER BY area_median_value.value) - 1 AS position, count(*) OVER (PARTITION BY area_median_value."key" ORDER BY area_median_value.value ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS n 
FROM (SELECT cell.image_id AS "key", CAST(cell.area AS REAL) AS value 
FROM cell 
WHERE CAST(cell.area AS REAL) IS NOT NULL) AS area_median_value) AS ranked 
WHERE ranked.position = 0 OR ranked.position > (ranked.n - 1) * 0.5 - 1 AND ranked.position <= (ranked.n - 1) * 0.5 + 1 GROUP BY ranked."key") AS grouped) AS area_median ON area_median."key" = image.id LEFT OUTER JOIN (SELECT grouped."key" AS "key", grouped.n AS n, CASE WHEN (grouped.green_fraction_median_t < 0.5) THEN grouped.green_fraction_median_a + (coalesce(grouped.green_fraction_median_b, grouped.green_fraction_median_a) - grouped.green_fraction_median_a) * grouped.green_fraction_median_t ELSE coalesce(grouped.green_fraction_median_b, grouped.green_fraction_median_a) - (coalesce(grouped.green_fraction_median_b, grouped.green_fraction_median_a) - grouped.green_fraction_median_a) * (1 - grouped.green_fraction_median_t) END AS green_fraction_median 
FROM (SELECT ranked."key" AS "key", max(ranked.n) AS n, max(CASE WHEN (ranked.position <= (ranked.n - 1) * 0.5) THEN ranked.value END) AS green_fraction_median_a, min(CASE WHEN (ranked.position > (ranked.n - 1) * 0.5) THEN ranked.value END) AS green_fraction_median_b, max((ranked.n - 1) * 0.5) - max(CASE WHEN (ranked.position <= (ranked.n - 1) * 0.5) THEN ranked.position END) AS green_fraction_median_t 
FROM (SELECT green_fraction_median_value."key" AS "key", green_fraction_median_value.value AS value, row_number() OVER (PARTITION BY green_fraction_median_value."key" ORDER BY green_fraction_median_value.value) - 1 AS position, count(*) OVER (PARTITION BY green_fraction_median_value."key" ORDER BY green_fraction_median_value.value ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS n 
FROM (SELECT cell.image_id AS "key", cell_channel.fraction AS value 
FROM cell JOIN cell_channel ON cell_channel.cell_id = cell.id AND cell_channel.channel = 'green' 
WHERE cell_channel.fraction IS NOT NULL) AS green_fraction_median_value) AS ranked 
WHERE ranked.position = 0 OR ranked.position > (ranked.n - 1) * 0.5 - 1 AND ranked.position <= (ranked.n - 1) * 0.5 + 1 GROUP BY ranked."key") AS grouped) AS green_fraction_median ON green_fraction_median."key" = image.id LEFT OUTER JOIN (SELECT cell.image_id AS "key", CAST(count(CASE WHEN clean_set_cell.clean THEN 1 END) AS REAL) / (count(*) + 0.0) AS clean_share 
FROM clean_set_cell JOIN cell ON cell.id = clean_set_cell.cell_id JOIN image ON image.id = cell.image_id AND image.gone_at IS NULL 
WHERE clean_set_cell.clean_set_id = (SELECT max(clean_set.id) AS max_1 
FROM clean_set) GROUP BY cell.image_id) AS clean_share ON clean_share."key" = image.id 
WHERE image.gone_at IS NULL;
COMMIT;
