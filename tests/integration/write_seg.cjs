// Writes a SEG of an ultrasound image with dcmjs, as OHIF does: write_seg.cjs DCMJS IMAGE LABELS OUT
const fs = require("fs");
const [, , dcmjsPath, imagePath, labelsPath, outPath] = process.argv;
const dcmjs = require(dcmjsPath);
const { DicomMessage, DicomMetaDictionary } = dcmjs.data;

const read = DicomMessage.readFile(fs.readFileSync(imagePath).buffer);
const image = DicomMetaDictionary.naturalizeDataset(read.dict);
image._meta = DicomMetaDictionary.namifyDataset(read.meta);
image._vrMap = {};
const frames = Number(image.NumberOfFrames || 1);
image.PixelData = new ArrayBuffer(8);
// What OHIF's normalizer makes of an image without a frame of reference.
image.SharedFunctionalGroupsSequence = {
  PlaneOrientationSequence: { ImageOrientationPatient: [1, 0, 0, 0, 1, 0] },
  PixelMeasuresSequence: { PixelSpacing: [1, 1], SliceThickness: 1, SpacingBetweenSlices: 1 },
};
image.PerFrameFunctionalGroupsSequence = Array.from({ length: frames }, () => ({
  PlanePositionSequence: { ImagePositionPatient: [0, 0, 0] },
}));
const seg = new dcmjs.derivations.Segmentation([image], { includeSliceSpacing: true });
const size = image.Rows * image.Columns;
const labels = fs.readFileSync(labelsPath);
const wanted = [1, 2].map((label) =>
  [...Array(frames).keys()].filter((i) => labels.subarray(i * size, (i + 1) * size).includes(label)));
seg.setNumberOfFrames(wanted[0].length + wanted[1].length);
const code = (value, meaning) => ({ CodeValue: value, CodingSchemeDesignator: "SCT", CodeMeaning: meaning });
wanted.forEach((own, i) => {
  if (!own.length) return;
  const maps = own.map((frame) => labels.subarray(frame * size, (frame + 1) * size));
  seg.addSegmentFromLabelmap({
    SegmentLabel: `Segment ${i + 1}`,
    SegmentAlgorithmType: "MANUAL",
    SegmentedPropertyCategoryCodeSequence: code("49755003", "Morphologically Abnormal Structure"),
    SegmentedPropertyTypeCodeSequence: code("4147007", "Mass"),
    RecommendedDisplayCIELabValue: [43802, 26566, 37721],
  }, maps, i + 1, own.map((frame) => frame + 1));
});
seg.bitPackPixelData();
fs.writeFileSync(outPath, Buffer.from(dcmjs.data.datasetToDict(seg.dataset).write()));
